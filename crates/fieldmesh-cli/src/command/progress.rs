//! What a command shows while something long runs.

use std::time::Duration;

use fieldmesh::api::Progress;
use indicatif::{ProgressBar, ProgressStyle};

use crate::backend::{Listener, Local};
use crate::home::Home;
use crate::render;
use crate::terminal::Terminal;

/// How often a spinner turns while nothing is told.
const TICK: Duration = Duration::from_millis(120);
/// What is said once where no bar is shown.
const MAKING: &str = "The records are being made readable again from the log; this waits for them.";

/// Where this process has opened the home, waits until all records can be read: nobody makes them
/// readable after its end.
pub(super) async fn until_made(terminal: &Terminal, home: &Home) {
    let Home::Local(Local(node)) = home else { return };
    let mut shown = None;
    let begin = || {
        if !terminal.shows_bars() {
            terminal.say(MAKING);
        }
        let bar = bar(terminal, Some(100), "{wide_bar} {percent:>3} %  {msg}");
        bar.set_message("making the records readable again");
        bar
    };
    node.until_made(|remaking| {
        shown.get_or_insert_with(begin).set_position(remaking.percent());
    })
    .await;
    if let Some(bar) = shown {
        bar.finish_and_clear();
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
