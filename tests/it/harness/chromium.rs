//! A browser without a window, told what to do over WebDriver.

use super::{
    kept::Kept,
    wait::{LONG, eventually},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::Client;
use serde_json::{Value, json};
use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, process::Command, thread::sleep, time::Duration};

/// What chromedriver starts: a browser that does not outlive it.
const BROWSER: &str = "#!/bin/sh\nexec setpriv --pdeathsig KILL -- chromium \"$@\"\n";

/// What is wrong with a page that is being changed at the moment: another look may do.
const PASSES: &[&str] = &[
    "no such element",
    "stale element reference",
    "element click intercepted",
    "element not interactable",
    "javascript error",
    "unknown error",
];

/// Chromium with one page, and all that it writes in a directory of its own. Gone with the value.
pub struct Chromium {
    driver: Kept,
    client: Client,
    session: String,
    /// Behind the driver, so that it is dropped behind it.
    _rest: Rest,
}

/// What is left when the driver has gone: the parts of a browser end a moment after it, and write until then.
struct Rest(PathBuf);

impl Rest {
    /// All of them have inherited where they may write.
    fn is_alive(&self) -> bool {
        let directory = self.0.as_os_str().as_encoded_bytes();
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let environments = processes.filter_map(|it| fs::read(it.path().join("environ")).ok());
        environments.into_iter().any(|it| it.windows(directory.len()).any(|part| part == directory))
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        for _ in 0..500 {
            if !self.is_alive() {
                break;
            }
            sleep(Duration::from_millis(20));
        }
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Why something could not be done.
#[derive(Debug)]
struct Refused {
    error: String,
    #[allow(dead_code, reason = "a test that fails prints it")]
    message: String,
}

impl Chromium {
    pub async fn start() -> Self {
        let mut driver = Kept::new("chromium", |directory| {
            let browser = directory.join("browser");
            fs::write(&browser, BROWSER).expect("to write the browser's script");
            fs::set_permissions(&browser, fs::Permissions::from_mode(0o755)).expect("to make it a program");
            let mut command = Command::new("chromedriver");
            command.arg("--port=0").env("HOME", directory).env("TMPDIR", directory);
            command
        });
        driver.start();
        let port =
            eventually("chromedriver listens (`scripts/provision browser` installs it)", LONG, async || {
                let said = driver.output();
                let port = said.split("successfully on port ").nth(1).and_then(|it| it.split('.').next());
                port.and_then(|it| it.parse::<u16>().ok()).ok_or(said)
            })
            .await;
        let client = Client::builder().no_proxy().timeout(LONG).build().expect("a client");
        let rest = Rest(driver.directory.clone());
        let session = format!("http://127.0.0.1:{port}/session");
        let mut it = Self { driver, client, session, _rest: rest };
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-first-run",
            "--no-proxy-server",
            "--hide-scrollbars",
            &format!("--user-data-dir={}", it.driver.directory.join("profile").display()),
        ];
        let options = json!({ "binary": it.driver.directory.join("browser"), "args": arguments });
        let capabilities =
            json!({ "goog:chromeOptions": options, "goog:loggingPrefs": { "browser": "ALL" } });
        let asked = json!({ "capabilities": { "alwaysMatch": capabilities } });
        let session = it.tell("", asked).await.expect("a session");
        it.session = format!("{}/{}", it.session, session["sessionId"].as_str().expect("its id"));
        it
    }

    /// Goes there and waits until it is loaded.
    pub async fn goto(&self, url: &str) {
        self.tell("/url", json!({ "url": url })).await.unwrap_or_else(|error| panic!("{url}: {error:?}"));
    }

    /// What a script gives that begins with `return`, once it can be run.
    pub async fn script(&self, script: &str) -> Value {
        eventually(script, LONG, async || self.run(script).await).await
    }

    /// Waits until a script gives something that will do, and gives that.
    pub async fn until(&self, what: &str, script: &str, mut will_do: impl FnMut(&Value) -> bool) -> Value {
        eventually(what, LONG, async || match self.run(script).await {
            Ok(value) if will_do(&value) => Ok(value),
            Ok(value) => Err((value, self.text().await)),
            Err(error) => Err((json!(format!("{error:?}")), String::new())),
        })
        .await
    }

    /// Waits until a person can read this on the page.
    pub async fn shows(&self, text: &str) {
        eventually(&format!("the page shows `{text}`"), LONG, async || match self.text().await {
            seen if seen.contains(text) => Ok(()),
            seen => Err(seen),
        })
        .await;
    }

    /// What a person can read on the page.
    pub async fn text(&self) -> String {
        let text = self.run("return document.body.innerText").await;
        text.ok().and_then(|it| it.as_str().map(str::to_owned)).unwrap_or_default()
    }

    /// Clicks on the first thing that a selector of CSS finds, once it is there and can be clicked on.
    pub async fn click(&self, css: &str) {
        self.use_on("css selector", css, "click", json!({})).await;
    }

    /// Clicks on the link or button with this text.
    pub async fn press(&self, text: &str) {
        let path = format!("//*[self::a or self::button or self::summary][normalize-space()='{text}']");
        self.use_on("xpath", &path, "click", json!({})).await;
    }

    /// Types into a field.
    pub async fn fill(&self, css: &str, text: &str) {
        self.use_on("css selector", css, "value", json!({ "text": text })).await;
    }

    /// The page is so large from now on, in pixels of CSS; a narrow one is a phone's.
    pub async fn resize(&self, width: u32, height: u32) {
        let mobile = width < 600;
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    /// The system's colours are dark from now on, or light.
    pub async fn dark(&self, dark: bool) {
        let scheme = if dark { "dark" } else { "light" };
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.devtools("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    /// The whole page as a PNG, also what one would have to scroll to.
    pub async fn picture(&self) -> Vec<u8> {
        let size = self
            .script("const it = document.documentElement; return [it.scrollWidth, it.scrollHeight]")
            .await;
        let clip = json!({ "x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1 });
        let told = json!({ "format": "png", "captureBeyondViewport": true, "clip": clip });
        let picture = self.devtools("Page.captureScreenshot", told).await;
        STANDARD.decode(picture["data"].as_str().expect("a picture")).expect("Base64")
    }

    /// What the browser had to say about the pages since it was asked last: errors and warnings.
    pub async fn complaints(&self) -> Vec<String> {
        let said = self.tell("/se/log", json!({ "type": "browser" })).await.expect("its log");
        let lines = said.as_array().expect("a list").iter();
        let bad = lines.filter(|it| it["level"] == "SEVERE" || it["level"] == "WARNING");
        bad.map(|it| it["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    async fn run(&self, script: &str) -> Result<Value, Refused> {
        self.tell("/execute/sync", json!({ "script": script, "args": [] })).await
    }

    async fn devtools(&self, command: &str, told: Value) -> Value {
        let asked = json!({ "cmd": command, "params": told });
        self.tell("/goog/cdp/execute", asked).await.unwrap_or_else(|error| panic!("{command}: {error:?}"))
    }

    async fn use_on(&self, using: &str, value: &str, action: &str, told: Value) {
        eventually(&format!("{action} on {value}"), LONG, async || {
            match self.try_on(using, value, action, &told).await {
                Ok(()) => Ok(()),
                Err(error) if PASSES.contains(&&*error.error) => Err((error, self.text().await)),
                Err(error) => panic!("{action} on {value}: {error:?}"),
            }
        })
        .await;
    }

    async fn try_on(&self, using: &str, value: &str, action: &str, told: &Value) -> Result<(), Refused> {
        let found = self.tell("/element", json!({ "using": using, "value": value })).await?;
        let id = found.as_object().and_then(|it| it.values().next()).and_then(Value::as_str);
        let id = id.expect("an element's id");
        if action == "value" {
            self.tell(&format!("/element/{id}/clear"), json!({})).await?;
        }
        self.tell(&format!("/element/{id}/{action}"), told.clone()).await.map(drop)
    }

    async fn tell(&self, path: &str, body: Value) -> Result<Value, Refused> {
        let request = self.client.post(format!("{}{path}", self.session));
        let request = request.header("content-type", "application/json").body(body.to_string());
        let answer = request.send().await.unwrap_or_else(|error| panic!("{path}: {error}"));
        let is_well = answer.status().is_success();
        let text = answer.text().await.unwrap_or_else(|error| panic!("{path}: {error}"));
        let mut said: Value =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {text}: {error}"));
        let value = said["value"].take();
        let word = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        if is_well { Ok(value) } else { Err(Refused { error: word("error"), message: word("message") }) }
    }
}
