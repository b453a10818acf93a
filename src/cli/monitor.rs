//! Display of the program's activity: a bar on a terminal, else a line at least every 30 seconds.

use std::io::{IsTerminal as _, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::activity::{Activity, Expected, TENTH, Task, duration};
use super::numbers::many;

/// The longest silence off a terminal: well below 30 seconds, as a busy machine may delay the thread.
const SILENCE: Duration = Duration::from_secs(25);
/// Tasks that end sooner have one line instead of two.
const SHORT: Duration = Duration::from_secs(1);
/// The time after which a bar appears.
const PATIENCE: Duration = Duration::from_millis(700);
/// The pause between two looks at the activity.
const TICK: Duration = Duration::from_millis(200);
/// Seconds in place of [`SILENCE`], for tests.
const SILENCE_VARIABLE: &str = "SECATEUR_PROGRESS_SECONDS";

/// How activity is shown.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Show {
    Nothing,
    /// A bar on the terminal.
    Bar,
    /// Lines, with the longest time between them.
    Lines(Duration),
}

#[derive(Debug)]
struct State {
    activity: Activity,
    show: Show,
    bar: Option<ProgressBar>,
    /// The time of the last line, or since when nothing is shown.
    last: Instant,
}

/// The activity of the program, which a thread of its own shows.
#[derive(Clone, Debug)]
pub(super) struct Monitor {
    state: Arc<Mutex<State>>,
    thread: Arc<Once>,
}

impl Monitor {
    /// Creates the monitor; a silent one shows nothing.
    pub(super) fn new(silent: bool) -> Self {
        let in_ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false");
        let show = match (silent, std::io::stderr().is_terminal() && !in_ci) {
            (true, _) => Show::Nothing,
            (false, true) => Show::Bar,
            (false, false) => Show::Lines(silence(std::env::var(SILENCE_VARIABLE).ok().as_deref())),
        };
        let state = State { activity: Activity::default(), show, bar: None, last: Instant::now() };
        Self { state: Arc::new(Mutex::new(state)), thread: Arc::new(Once::new()) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the thread, once.
    pub(super) fn start(&self) {
        if self.lock().show != Show::Nothing {
            let watched = self.clone();
            self.thread.call_once(|| drop(thread::spawn(move || watched.watch())));
        }
    }

    /// Sets the tasks that are expected from now on.
    pub(super) fn expect(&self, expected: Vec<Expected>) {
        self.lock().activity.expect(expected);
    }

    /// Begins a task within the running one.
    pub(super) fn begin(&self, title: &str, units: (&'static str, u64)) {
        self.lock().activity.begin(title, units, Instant::now());
    }

    /// Sets the number of units that the innermost task has done.
    pub(super) fn advance(&self, done: u64) {
        self.lock().activity.advance(done);
    }

    /// Ends the innermost task.
    pub(super) fn end(&self) {
        let now = Instant::now();
        let mut state = self.lock();
        let Some(task) = state.activity.end(now) else { return };
        if state.activity.is_idle() {
            state.clear(now);
            state.tell_end(&task, now);
        }
    }

    /// Removes the bar and ends the display, before the program's last words.
    pub(super) fn stop(&self) {
        let mut state = self.lock();
        state.clear(Instant::now());
        state.show = Show::Nothing;
    }

    /// Writes while no bar is shown.
    pub(super) fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        let mut state = self.lock();
        state.last = Instant::now();
        match &state.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    fn watch(&self) {
        loop {
            let show = {
                let mut state = self.lock();
                state.tick(Instant::now());
                state.show
            };
            match show {
                Show::Nothing => return,
                Show::Bar => thread::sleep(TICK),
                Show::Lines(silence) => thread::sleep(TICK.min(silence / 4)),
            }
        }
    }
}

impl State {
    fn clear(&mut self, now: Instant) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        if self.show == Show::Bar {
            self.last = now;
        }
    }

    /// Writes a line; an error of standard error cannot be reported.
    fn line(&mut self, text: &str, now: Instant) {
        let _ = writeln!(anstream::stderr(), "{text}");
        self.last = now;
    }

    /// Writes the line about the end of an outermost task. A short task without a number has none.
    fn tell_end(&mut self, task: &Task, now: Instant) {
        let Show::Lines(_) = self.show else { return };
        let (name, took) = (self.activity.name(task), now - task.began);
        if task.told || took >= SHORT || name.starts_with('[') {
            self.line(&format!("{name}: done in {}", duration(took)), now);
        }
    }

    fn tick(&mut self, now: Instant) {
        match self.show {
            Show::Nothing => {}
            Show::Bar => self.draw(now),
            Show::Lines(silence) => {
                let begins = self
                    .activity
                    .outermost()
                    .filter(|task| !task.told && now - task.began >= SHORT.min(silence));
                let begins = begins.map(|task| {
                    task.told = true;
                    task.clone()
                });
                if let Some(task) = begins {
                    let name = self.activity.name(&task);
                    let units = counted(&task);
                    self.line(&format!("{name}: begins{units}"), now);
                } else if now - self.last >= silence {
                    let text = self.activity.text(now);
                    self.line(&text, now);
                }
            }
        }
    }

    fn draw(&mut self, now: Instant) {
        const POSITIONS: f64 = 1000.0;
        if self.bar.is_none() && now - self.last < PATIENCE {
            return;
        }
        let (text, share) = (self.activity.text(now), self.activity.share(now));
        let bar = self.bar.get_or_insert_with(|| {
            ProgressBar::with_draw_target(Some(POSITIONS as u64), ProgressDrawTarget::stderr_with_hz(5))
        });
        let template = if share.is_some() { "{spinner} {msg} {wide_bar}" } else { "{spinner} {msg}" };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(text);
        bar.set_position((POSITIONS * share.unwrap_or(0.0)) as u64);
        bar.tick();
    }
}

/// Returns the number of a task's units, after a comma.
fn counted(task: &Task) -> String {
    match task.total {
        0 => String::new(),
        tenths if task.unit == TENTH => format!(", {:.1} s", 0.1 * tenths as f64),
        total => format!(", {}", many(total as usize, task.unit)),
    }
}

/// Returns the longest silence: a number of seconds, or the default.
fn silence(seconds: Option<&str>) -> Duration {
    let seconds = seconds.and_then(|text| text.parse().ok()).filter(|s: &f64| *s > 0.0);
    seconds.and_then(|s| Duration::try_from_secs_f64(s).ok()).map_or(SILENCE, |s| s.min(SILENCE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_silence_can_only_be_shortened() {
        assert_eq!(silence(Some("0.5")), Duration::from_millis(500));
        for text in [None, Some(""), Some("-1"), Some("NaN"), Some("1e9"), Some("1e99")] {
            assert_eq!(silence(text), SILENCE, "{text:?}");
        }
    }
}
