// What a page does beyond being read; all of it works without this, but for staying new by itself.
(function () {
  "use strict";
  var held = false;
  var pulse, hold, said;

  function by(id) { return document.getElementById(id); }

  function pulsing(word, well) {
    if (!pulse) return;
    pulse.hidden = false;
    pulse.textContent = word;
    pulse.className = well ? "well" : "stuck";
  }

  document.addEventListener("DOMContentLoaded", function () {
    pulse = by("pulse");
    hold = by("hold");
    said = by("said");
    if (hold) {
      hold.hidden = false;
      hold.addEventListener("click", function () {
        held = !held;
        hold.setAttribute("aria-pressed", String(held));
        pulsing(held ? "held still" : "live", !held);
      });
    }
    var form = by("chosen");
    if (form) choosing(form);
  });

  // How many are ticked, and one tick for all of them.
  function choosing(form) {
    var boxes = Array.prototype.slice.call(form.querySelectorAll("input[name=ids]"));
    var head = form.querySelector("thead th");
    var all = document.createElement("input");
    all.type = "checkbox";
    all.setAttribute("aria-label", "Choose all that are shown");
    head.appendChild(all);
    function count() {
      var ticked = boxes.filter(function (it) { return it.checked; }).length;
      by("ticked").textContent = "With the " + ticked + " that are ticked:";
      all.checked = ticked === boxes.length;
      all.indeterminate = ticked > 0 && ticked < boxes.length;
    }
    all.addEventListener("change", function () {
      boxes.forEach(function (it) { it.checked = all.checked; });
      count();
    });
    form.addEventListener("change", count);
    count();
  }

  document.addEventListener("htmx:sseOpen", function () { if (!held) pulsing("live", true); });
  document.addEventListener("htmx:sseError", function () { pulsing("not live: the connection is lost", false); });
  document.addEventListener("htmx:responseError", function () { pulsing("not live: it cannot be read", false); });
  document.addEventListener("htmx:sendError", function () { pulsing("not live: the connection is lost", false); });

  // Nobody looks, or wants to look at it as it is.
  document.addEventListener("htmx:beforeRequest", function (event) {
    if (held || document.hidden) event.preventDefault();
  });

  // What was opened and where one was stays so.
  var open = [], before = "", scrolled = {};
  document.addEventListener("htmx:beforeSwap", function () {
    open = Array.prototype.map.call(document.querySelectorAll("#live details[open][id]"), function (it) { return it.id; });
    before = (by("headline") || {}).textContent || "";
    scrolled = {};
    document.querySelectorAll("#live .scroll").forEach(function (it) {
      scrolled[it.getAttribute("aria-label")] = [it.scrollLeft, it.scrollTop];
    });
  });
  document.addEventListener("htmx:afterSwap", function () {
    open.forEach(function (id) { if (by(id)) by(id).open = true; });
    document.querySelectorAll("#live .scroll").forEach(function (it) {
      var at = scrolled[it.getAttribute("aria-label")];
      if (at) { it.scrollLeft = at[0]; it.scrollTop = at[1]; }
    });
    var headline = by("headline");
    if (headline && headline.textContent !== before) {
      said.textContent = headline.textContent;
      document.title = headline.textContent + " · Rowcall";
    }
    if (!held) pulsing("live", true);
  });
})();
