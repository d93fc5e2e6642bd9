//! Standard output and standard error: data and JSON to the one, words for people to the other.

use std::io::{self, Write as _};

use serde::Serialize;

use crate::args::Global;
use crate::exit::Failure;

/// Where this command writes, and how.
#[derive(Debug, Clone)]
pub(crate) struct Terminal {
    json: bool,
    quiet: bool,
}

impl Terminal {
    /// As the flags want it.
    pub(crate) const fn new(global: &Global) -> Self {
        Self { json: global.json, quiet: global.quiet }
    }

    /// Whether data is printed as JSON.
    pub(crate) const fn json(&self) -> bool {
        self.json
    }

    /// Prints data: the value as JSON, or what `render` makes of it.
    pub(crate) fn value<T: Serialize>(
        &self,
        value: &T,
        render: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        if self.json { self.json_line(value) } else { print(&render(value)) }
    }

    /// Prints data: one JSON line an item, or what `render` makes of them all.
    pub(crate) fn list<T: Serialize>(
        &self,
        items: &[T],
        render: impl FnOnce(&[T]) -> String,
    ) -> Result<(), Failure> {
        if !self.json {
            return print(&render(items));
        }
        for item in items {
            self.json_line(item)?;
        }
        Ok(())
    }

    /// Prints one value as one JSON line.
    pub(crate) fn json_line<T: Serialize>(&self, value: &T) -> Result<(), Failure> {
        let mut line = serde_json::to_string(value).map_err(io::Error::from)?;
        line.push('\n');
        print(&line)
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

fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// Adds what to do to an error that was printed; nobody is left to tell where that fails.
pub(crate) fn hint(words: &str) {
    let _ = writeln!(io::stderr(), "\nhint: {words}");
}
