//! What a command shows while something long runs.

use std::time::{Duration, Instant};

use fieldmesh::api::{ListQuery, Progress, Remaking};
use indicatif::{ProgressBar, ProgressStyle};

use crate::backend::{Backend, Listener, Local};
use crate::home::Home;
use crate::render;
use crate::terminal::Terminal;

/// How often a spinner turns while nothing is told.
const TICK: Duration = Duration::from_millis(120);
/// What is said once where no bar is shown.
const MAKING: &str = "The records are being made readable again from the log; this waits for them.";

/// How often it is said then how far they have come.
const TOLD_EVERY: Duration = Duration::from_secs(10);
/// How often a daemon is asked how far it has come.
const ASKED_EVERY: Duration = Duration::from_millis(500);
/// What does not come any further for so long is left to whoever needs it to be told of.
const STALLED_AFTER: Duration = Duration::from_secs(30);

/// Where this process has opened the home, waits until all records can be read: nobody makes them
/// readable after its end.
pub(super) async fn until_made(terminal: &Terminal, home: &Home) {
    let Home::Local(Local(node)) = home else { return };
    let mut shown = Making::of(terminal);
    node.until_made(|remaking| shown.tell(remaking)).await;
    shown.end();
}

/// Says how far the records have come for a command that waits for all of them, where a daemon makes
/// them readable; what it says of the collection, the command itself is told.
pub(super) async fn until_all(terminal: &Terminal, home: &dyn Backend, collection: &str) {
    let mut shown = Making::of(terminal);
    follow(home, collection, ASKED_EVERY, |remaking| shown.tell(remaking)).await;
    shown.end();
}

/// Asks until all records are there, nothing goes on, or there is nobody to ask.
async fn follow(
    home: &dyn Backend,
    collection: &str,
    every: Duration,
    mut tell: impl FnMut(Remaking),
) {
    let (mut done, mut since) = (None, Instant::now());
    loop {
        let (limit, partial) = (Some(1), true);
        let collection = collection.to_owned();
        let query = ListQuery { collection, limit, partial, ..ListQuery::default() };
        let Ok(page) = home.page(query).await else { return };
        let Some(remaking) = page.remaking else { return };
        tell(remaking);
        if done.replace(remaking.done) != Some(remaking.done) {
            since = Instant::now();
        }
        if since.elapsed() >= STALLED_AFTER {
            return;
        }
        tokio::time::sleep(every).await;
    }
}

/// How far the records have come: as a bar, or in lines where bars are not welcome.
struct Making<'a> {
    terminal: &'a Terminal,
    begun: Instant,
    bar: Option<ProgressBar>,
    lines: Lines,
}

impl<'a> Making<'a> {
    fn of(terminal: &'a Terminal) -> Self {
        Self { terminal, begun: Instant::now(), bar: None, lines: Lines::default() }
    }

    fn tell(&mut self, remaking: Remaking) {
        if !self.terminal.shows_bars() {
            let line = self.lines.due(remaking, self.begun.elapsed());
            line.into_iter().for_each(|line| self.terminal.say(&line));
            return;
        }
        let begin = || {
            let bar = bar(self.terminal, Some(100), "{wide_bar} {percent:>3} %  {msg}");
            bar.set_message("making the records readable again");
            bar
        };
        self.bar.get_or_insert_with(begin).set_position(remaking.percent());
    }

    fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

/// When something was said last of how far the records have come.
#[derive(Default)]
struct Lines {
    told: Option<Duration>,
}

impl Lines {
    /// What is to be said after waiting for so long.
    fn due(&mut self, remaking: Remaking, waited: Duration) -> Option<String> {
        let line = match self.told {
            None => MAKING.to_owned(),
            Some(told) if waited >= told + TOLD_EVERY => {
                format!("{} % of the log is read for it so far.", remaking.percent())
            }
            Some(_) => return None,
        };
        self.told = Some(waited);
        Some(line)
    }
}

/// A bar for a file of so many bytes, hidden where bars are not welcome.
pub(super) fn file_bar(terminal: &Terminal, size: Option<u64>) -> ProgressBar {
    let template = match size {
        Some(_) => "{wide_bar} {percent:>3} %  {msg}  {eta}",
        None => "{spinner} {msg}",
    };
    bar(terminal, size, template)
}

/// A spinner for work of unknown length, hidden where bars are not welcome.
pub(super) fn spinner(terminal: &Terminal) -> ProgressBar {
    bar(terminal, None, "{spinner} {msg}  {elapsed}")
}

fn bar(terminal: &Terminal, size: Option<u64>, template: &str) -> ProgressBar {
    if !terminal.shows_bars() {
        return ProgressBar::hidden();
    }
    let bar = match size {
        Some(size) => ProgressBar::new(size),
        None => ProgressBar::new_spinner(),
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(TICK);
    bar
}

/// Shows progress on `bar`, or as JSON lines.
pub(super) fn listener(terminal: &Terminal, bar: &ProgressBar) -> Listener {
    let (terminal, bar) = (terminal.clone(), bar.clone());
    Box::new(move |progress| {
        if terminal.json() {
            // The work goes on where nobody reads its progress.
            let _ = terminal.json_line(&progress);
            return;
        }
        match progress {
            Progress::Import { rows, bytes } => {
                bar.set_position(bytes);
                bar.set_message(render::counted(rows, "row", "rows"));
            }
            Progress::Sync { received, sent } => {
                bar.set_message(format!("{received} received, {sent} sent"));
            }
            Progress::Compact { done, of } => {
                bar.set_message(format!("{done} of {of} parts of the log"));
            }
            Progress::Refused(row) => bar.suspend(|| terminal.say(&render::refused_row(&row))),
            Progress::Backup { entries } => {
                bar.set_message(render::counted(entries, "entry", "entries"));
            }
            Progress::Note { text } => bar.suspend(|| terminal.say(&text)),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::fake::Fake;

    #[test]
    fn whoever_waits_without_a_bar_is_told_at_once_and_then_every_ten_seconds() {
        let mut lines = Lines::default();
        let mut due =
            |seconds, done| lines.due(Remaking { done, of: 100 }, Duration::from_secs(seconds));
        assert_eq!(due(0, 3).as_deref(), Some(MAKING));
        assert_eq!((due(1, 4), due(9, 6)), (None, None));
        assert_eq!(due(10, 7).as_deref(), Some("7 % of the log is read for it so far."));
        assert_eq!(due(19, 8), None);
        assert!(due(45, 9).is_some_and(|line| line.starts_with("9 %")));
    }

    #[tokio::test]
    async fn a_daemon_is_asked_until_all_records_are_there() {
        let fake = Fake::default();
        fake.make([10, 60]);
        let mut told = Vec::new();
        let tell = |remaking: Remaking| told.push(remaking.percent());
        follow(&fake, "field_entry", Duration::ZERO, tell).await;
        assert_eq!(told, [10, 60]);
        let asked = fake.asked();
        assert_eq!(asked.len(), 3);
        assert!(asked.iter().all(|it| it.contains("partial: true")), "{asked:?}");
    }
}
