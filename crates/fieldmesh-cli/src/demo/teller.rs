//! Tells what happens: calm lines for people, or JSON lines for programs.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Map, Value as Json, json};

use super::crew::{Crew, Found};
use super::error::DemoError;
use super::program::{PASSPHRASE, Programs};
use super::reckoning::Outcome;
use crate::exit::Failure;
use crate::render::{self, Style, Tone};
use crate::terminal::Terminal;

/// The widest line: more is tiring to read.
const WIDTH_MAX: usize = 96;
/// What the time of a line takes at its right.
const CLOCK_WIDTH: usize = 9;

/// Tells what happens.
pub(super) struct Teller<'a> {
    terminal: &'a Terminal,
    began: Instant,
    chapter: &'static str,
}

impl<'a> Teller<'a> {
    /// A teller who has said nothing so far.
    pub(super) fn new(terminal: &'a Terminal) -> Self {
        Self { terminal, began: Instant::now(), chapter: "" }
    }

    fn style(&self) -> &Style {
        self.terminal.style()
    }

    /// What this is.
    pub(super) fn begin(&self) -> Result<(), DemoError> {
        if self.terminal.json() {
            return Ok(());
        }
        self.text(
            "A crew's day, played by real processes on this machine: a relay, and the devices of\n\
             ana (admin), ben (operator) and cleo (manager). Ctrl-C ends it at any time.\n",
        )
    }

    /// A chapter begins: its short name for programs, its title for people.
    pub(super) fn chapter(&mut self, name: &'static str, title: &str) -> Result<(), DemoError> {
        self.chapter = name;
        if self.terminal.json() {
            return Ok(());
        }
        self.text(&format!("\n{}\n", self.style().paint(Tone::Heading, title)))
    }

    /// Something happened: words for people, and the numbers in them for programs.
    pub(super) fn tell(&self, words: &str, numbers: Json) -> Result<(), DemoError> {
        if self.terminal.json() {
            let mut line = Map::new();
            line.insert("chapter".into(), self.chapter.into());
            line.insert("text".into(), words.into());
            line.insert("millis".into(), millis(self.began.elapsed()).into());
            if let Json::Object(numbers) = numbers {
                line.extend(numbers);
            }
            return self.text(&format!("{}\n", Json::Object(line)));
        }
        let clock = format!("{:>7.1} s", self.began.elapsed().as_secs_f64());
        let width = self.style().width.min(WIDTH_MAX) - CLOCK_WIDTH - 2;
        let lines = wrap(words, width);
        let mut text = String::new();
        for (index, line) in lines.iter().enumerate() {
            text.push_str(&format!("  {line}"));
            if index + 1 == lines.len() {
                let padding = " ".repeat(width - line.chars().count());
                text.push_str(&padding);
                text.push_str(&self.style().paint(Tone::Quiet, &clock));
            }
            text.push('\n');
        }
        self.text(&text)
    }

    /// The day is over, and all is well.
    pub(super) fn end(&self, outcome: &Outcome, processes: u32) -> Result<(), Failure> {
        let took = self.began.elapsed();
        let traffic = &outcome.traffic;
        let bytes = traffic.bytes_in + traffic.bytes_out;
        if self.terminal.json() {
            return self.terminal.json_line(&json!({
                "result": "ok",
                "acknowledged": outcome.acknowledged,
                "replicas": outcome.replicas,
                "batches": outcome.batches,
                "conflicts": outcome.conflicts,
                "bytes": bytes,
                "rounds": traffic.rounds,
                "mdns": outcome.found == Found::ByMdns,
                "processes": processes,
                "millis": millis(took),
            }));
        }
        let verdict = format!(
            "All {} acknowledged records are on all {} devices, and nothing is damaged.",
            outcome.acknowledged, outcome.replicas
        );
        let account = format!(
            "{processes} processes, {:.1} s; coming together took {} in {}.",
            took.as_secs_f64(),
            render::bytes(bytes),
            render::counted(traffic.rounds, "round", "rounds"),
        );
        self.terminal.text(&format!("\n{}\n{account}\n", self.style().paint(Tone::Good, &verdict)))
    }

    /// The day ended badly; what is left may tell why.
    pub(super) fn failed(&self, error: &DemoError, folder: &Path) -> Result<(), Failure> {
        if self.terminal.json() {
            return self.terminal.json_line(&json!({
                "result": "failed",
                "chapter": self.chapter,
                "reason": error.to_string(),
                "folder": folder,
                "millis": millis(self.began.elapsed()),
            }));
        }
        self.terminal.complain(&format!(
            "\nThe homes and the logs of every process stay in {}.",
            folder.display()
        ));
        Ok(())
    }

    /// Where the homes are, and what to try on them.
    pub(super) fn keep(
        &self,
        folder: &Path,
        programs: &Programs,
        crew: &Crew,
    ) -> Result<(), Failure> {
        let command = |home: &Path, rest: &str| {
            let (program, home) = (quoted(programs.path()), quoted(home));
            format!("FIELDMESH_PASSPHRASE={PASSPHRASE} {program} --home {home} {rest}")
        };
        let commands = [
            command(crew.ben.home(), "conflicts"),
            command(crew.cleo.home(), &format!("history {}", crew.disputed)),
            command(crew.ana.home(), "list field_entry --limit 10"),
        ];
        if self.terminal.json() {
            return self.terminal.json_line(&json!({ "kept": folder, "commands": commands }));
        }
        self.terminal.text(&format!(
            "\nThe homes stay in {}. Try:\n\n  {}\n",
            folder.display(),
            commands.join("\n  ")
        ))
    }

    fn text(&self, text: &str) -> Result<(), DemoError> {
        match self.terminal.text(text) {
            Ok(()) => Ok(()),
            Err(Failure::OutputClosed) => Err(DemoError::OutputClosed),
            Err(failure) => Err(DemoError::Output(std::io::Error::other(format!("{failure:?}")))),
        }
    }
}

/// A span in milliseconds, for programs.
pub(super) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// `text` in lines of at most `width` characters; a longer word gets a line of its own.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is always a line");
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

/// A path as a shell reads it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "/._-+".contains(char);
    if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_wrapped_and_never_lost() {
        let text = "a relay starts and ben, who is far away, hears nothing of it";
        for width in [1, 5, 20, 200] {
            let lines = wrap(text, width);
            assert_eq!(lines.join(" "), text);
            assert!(lines.iter().all(|line| line.len() <= width || !line.contains(' ')));
        }
    }

    #[test]
    fn a_path_with_spaces_survives_a_shell() {
        assert_eq!(quoted(Path::new("/tmp/a-1")), "/tmp/a-1");
        assert_eq!(quoted(Path::new("/tmp/it's here")), "'/tmp/it'\\''s here'");
    }
}
