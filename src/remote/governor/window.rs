use std::time::Duration;
use tokio::time::Instant;

/// How many calls may be under way at once: as many as configured, fewer while the remote says or
/// shows that it is too much. Pure; the time is an argument.
///
/// Halved when the remote throttles or does not answer in time, taken down a little when answers
/// take far longer than they usually do, and up again by one for each round of calls that go well.
/// A call that began before the last step down says nothing about the present width.
#[derive(Debug)]
pub(super) struct Window {
    most: f64,
    width: f64,
    narrowed: Option<Instant>,
    /// The last few answers took about this long, in seconds.
    lately: f64,
    /// Answers usually take about this long.
    usually: f64,
}

/// How much one answer moves what is usual. The usual follows a lasting change, so that a remote
/// that is simply slower than it was gets its calls again.
const SLOW: f64 = 1.0 / 256.0;
const FAST: f64 = 1.0 / 8.0;
/// What is far longer than usual: this many times, and this much in seconds.
const FAR: f64 = 3.0;
const MUCH: f64 = 0.1;

impl Window {
    pub(super) fn new(most: u32) -> Self {
        let most = f64::from(most.max(1));
        Self { most, width: most, narrowed: None, lately: 0.0, usually: 0.0 }
    }

    pub(super) fn width(&self) -> u32 {
        self.width as u32
    }

    /// A call that began at `began` was answered well.
    pub(super) fn answered(&mut self, began: Instant, now: Instant) {
        self.learn(now.saturating_duration_since(began));
        if self.is_stale(began) {
            return;
        }
        if self.lately > self.usually * FAR + MUCH {
            self.narrow(0.9, now);
        } else {
            self.width = (self.width + 1.0 / self.width).min(self.most);
        }
    }

    /// A call that began at `began` was too much for the remote.
    pub(super) fn overloaded(&mut self, began: Instant, now: Instant) {
        if !self.is_stale(began) {
            self.narrow(0.5, now);
        }
    }

    fn learn(&mut self, took: Duration) {
        let took = took.as_secs_f64();
        if self.usually == 0.0 {
            (self.lately, self.usually) = (took, took);
            return;
        }
        self.lately += (took - self.lately) * FAST;
        self.usually += (took - self.usually) * SLOW;
        // Back to normal is believed at once.
        self.usually = self.usually.min(self.lately.max(self.usually * 0.95));
    }

    fn is_stale(&self, began: Instant) -> bool {
        self.narrowed.is_some_and(|narrowed| began < narrowed)
    }

    fn narrow(&mut self, factor: f64, now: Instant) {
        self.width = (self.width * factor).max(1.0);
        self.narrowed = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TAKES: Duration = Duration::from_millis(50);

    /// Rounds of calls, as many at once as the window allows, each taking so long.
    fn rounds(window: &mut Window, now: &mut Instant, rounds: usize, takes: Duration) {
        for _ in 0..rounds {
            let began = *now;
            *now += takes;
            (0..window.width()).for_each(|_| window.answered(began, *now));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_halved_once_a_wave_and_comes_back_round_by_round() {
        let mut window = Window::new(16);
        let mut now = Instant::now();
        assert_eq!(window.width(), 16);
        let began = now;
        now += TAKES;
        (0..16).for_each(|_| window.overloaded(began, now));
        assert_eq!(window.width(), 8, "a wave of sixteen refusals is one piece of news");
        for _ in 0..9 {
            window.overloaded(now, now);
            now += TAKES;
        }
        assert_eq!(window.width(), 1, "one is always left");
        rounds(&mut window, &mut now, 4, TAKES);
        assert!((2..16).contains(&window.width()), "it does not jump back: {}", window.width());
        rounds(&mut window, &mut now, 40, TAKES);
        assert_eq!(window.width(), 16);
    }

    #[tokio::test(start_paused = true)]
    async fn answers_far_slower_than_usual_narrow_it_until_they_are_usual() {
        let mut window = Window::new(16);
        let mut now = Instant::now();
        rounds(&mut window, &mut now, 50, TAKES);
        assert_eq!(window.width(), 16, "steady answers leave it alone");
        rounds(&mut window, &mut now, 5, TAKES * 40);
        assert!(window.width() < 12, "{}", window.width());
        rounds(&mut window, &mut now, 20, TAKES);
        assert_eq!(window.width(), 16, "it is fast again");
        rounds(&mut window, &mut now, 2_000, TAKES * 40);
        assert_eq!(window.width(), 16, "a remote that stays slow is used in full again");
    }

    #[tokio::test(start_paused = true)]
    async fn fast_and_slow_calls_side_by_side_are_no_overload() {
        let mut window = Window::new(16);
        let mut now = Instant::now();
        for _ in 0..2_000 {
            let began = now;
            now += Duration::from_millis(400);
            for at in 0..window.width() {
                let began = if at % 4 == 0 { began } else { now - Duration::from_millis(5) };
                window.answered(began, now);
            }
        }
        assert!(window.width() >= 15, "{}", window.width());
    }

    proptest! {
        #[test]
        fn it_stays_between_one_and_what_is_configured(
            most in 0u32..64,
            news in prop::collection::vec((any::<bool>(), 0u64..2_000), 0..300),
        ) {
            let mut window = Window::new(most);
            let mut now = Instant::now();
            for (well, millis) in news {
                let began = now;
                now += Duration::from_millis(millis);
                if well { window.answered(began, now) } else { window.overloaded(began, now) }
                prop_assert!((1..=most.max(1)).contains(&window.width()));
            }
        }
    }
}
