//! Standard output and standard error: data and JSON to the one, words for people to the other.

use std::io::{self, IsTerminal as _, Write as _};

use jiff::tz::TimeZone;
use serde::Serialize;

use crate::args::Global;
use crate::exit::Failure;
use crate::render::{Paint, Style};

/// How wide a table may be where no terminal says it.
const WIDTH_DEFAULT: usize = 100;
/// Narrower terminals get lines that wrap.
const WIDTH_MIN: usize = 60;

/// Where this command writes, and how.
#[derive(Debug, Clone)]
pub(crate) struct Terminal {
    json: bool,
    quiet: bool,
    colour: bool,
    is_terminal: bool,
    style: Style,
}

impl Terminal {
    /// As flags, environment and the terminal itself want it.
    pub(crate) fn new(global: &Global) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        let is_terminal = io::stdout().is_terminal();
        let width = match terminal_size::terminal_size() {
            Some((width, _)) if is_terminal => usize::from(width.0).max(WIDTH_MIN),
            _ => WIDTH_DEFAULT,
        };
        Self {
            json: global.json,
            quiet: global.quiet,
            colour: !plain,
            is_terminal,
            style: Style {
                width,
                paint: if is_terminal && !plain { Paint::Colours } else { Paint::None },
                zone: TimeZone::system(),
            },
        }
    }

    /// Whether data is printed as JSON.
    pub(crate) const fn json(&self) -> bool {
        self.json
    }

    /// Whether people read the data that is printed, and not a program, a pipe or a file.
    pub(crate) const fn is_read_by_people(&self) -> bool {
        self.is_terminal && !self.json
    }

    /// Whether colours are welcome where there is a terminal.
    pub(crate) const fn colour(&self) -> bool {
        self.colour
    }

    /// How tables and sentences look.
    pub(crate) const fn style(&self) -> &Style {
        &self.style
    }

    /// Whether somebody can be asked.
    pub(crate) fn is_interactive(&self) -> bool {
        io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// Whether moving progress bars are welcome.
    pub(crate) fn shows_bars(&self) -> bool {
        !self.json && !self.quiet && io::stderr().is_terminal()
    }

    /// Prints data: the value as JSON, or what `render` makes of it.
    pub(crate) fn value<T: Serialize>(
        &self,
        value: &T,
        render: impl FnOnce(&T, &Style) -> String,
    ) -> Result<(), Failure> {
        if self.json { self.json_line(value) } else { self.text(&render(value, &self.style)) }
    }

    /// Prints data: one JSON line an item, or what `render` makes of them all.
    pub(crate) fn list<T: Serialize>(
        &self,
        items: &[T],
        render: impl FnOnce(&[T], &Style) -> String,
    ) -> Result<(), Failure> {
        if !self.json {
            return self.text(&render(items, &self.style));
        }
        let mut out = io::BufWriter::new(io::stdout().lock());
        for item in items {
            serde_json::to_writer(&mut out, item).map_err(io::Error::from)?;
            out.write_all(b"\n")?;
        }
        out.flush()?;
        Ok(())
    }

    /// Prints one value as one JSON line.
    pub(crate) fn json_line<T: Serialize>(&self, value: &T) -> Result<(), Failure> {
        let mut line = serde_json::to_string(value).map_err(io::Error::from)?;
        line.push('\n');
        self.text(&line)
    }

    /// Prints text as it is, with a line end where it has none.
    pub(crate) fn text(&self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        if !text.is_empty() && !text.ends_with('\n') {
            out.write_all(b"\n")?;
        }
        out.flush()?;
        Ok(())
    }

    /// Says something to people, unless they want quiet.
    pub(crate) fn say(&self, text: &str) {
        if !self.quiet {
            self.complain(text);
        }
    }

    /// Says something that people must see.
    pub(crate) fn complain(&self, text: &str) {
        // Where nobody listens there is nobody to tell.
        let _ = writeln!(io::stderr().lock(), "{text}");
    }
}
