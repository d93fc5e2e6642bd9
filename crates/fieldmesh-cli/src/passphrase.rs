//! Where the secret that opens a home comes from: a key file, the environment, or a question.

use std::path::{Path, PathBuf};

use fieldmesh::Builder;
use fieldmesh::api::Problem;

use crate::args::Global;
use crate::problem;
use crate::terminal::Terminal;

/// The environment variable that holds the passphrase.
const VARIABLE: &str = "FIELDMESH_PASSPHRASE";
/// The environment variable that holds the passphrase that is to open the home from now on.
const NEW_VARIABLE: &str = "FIELDMESH_NEW_PASSPHRASE";
/// A shorter passphrase is tried out by a good machine in a while.
const LENGTH_MIN: usize = 14;
/// How often a new passphrase may be typed differently the second time.
const ATTEMPTS_MAX: u32 = 3;

/// What opens a home.
pub(crate) enum Secret {
    /// The key file in its usual place.
    UsualKeyFile,
    /// A key file that was named.
    KeyFile(PathBuf),
    /// A passphrase.
    Passphrase(String),
    /// What the system's keyring remembers.
    Remembered,
}

impl Secret {
    /// What opens the home in `folder`; asks for it where it must and can.
    pub(crate) fn to_open(
        global: &Global,
        terminal: &Terminal,
        folder: &Path,
    ) -> Result<Self, Problem> {
        let is_named = global.key_file.is_some() || from_environment().is_some();
        if !is_named && fieldmesh::home::is_remembered(folder) {
            return Ok(Self::Remembered);
        }
        Self::to_prove(global, terminal, folder)
    }

    /// As [`Self::to_open`], but what the keyring remembers does not do: whoever changes what opens
    /// the home has to have it.
    pub(crate) fn to_prove(
        global: &Global,
        terminal: &Terminal,
        folder: &Path,
    ) -> Result<Self, Problem> {
        let needs_passphrase =
            fieldmesh::home::needs_passphrase(folder).map_err(|error| error.problem())?;
        Self::find(global, terminal, needs_passphrase, "this home")
    }

    fn find(
        global: &Global,
        terminal: &Terminal,
        needs_passphrase: bool,
        what: &str,
    ) -> Result<Self, Problem> {
        if let Some(file) = &global.key_file {
            return Ok(Self::KeyFile(file.clone()));
        }
        if !needs_passphrase {
            return Ok(Self::UsualKeyFile);
        }
        if let Some(passphrase) = from_environment() {
            return Ok(Self::Passphrase(passphrase));
        }
        if !terminal.is_interactive() {
            return Err(problem::store(format!(
                "{what} is locked by a passphrase; set {VARIABLE} or enter it on a terminal"
            )));
        }
        ask("Passphrase: ").map(Self::Passphrase)
    }

    /// What opens the backup in `file`; asks for it where it must and can.
    pub(crate) fn to_read(
        global: &Global,
        terminal: &Terminal,
        file: &Path,
    ) -> Result<Self, Problem> {
        let needs_passphrase =
            fieldmesh::backup::needs_passphrase(file).map_err(|error| error.problem())?;
        Self::find(global, terminal, needs_passphrase, "this backup")
    }

    /// What will open a home that is about to be made; asks for it where it can.
    pub(crate) fn to_create(global: &Global, terminal: &Terminal) -> Result<Self, Problem> {
        if let Some(file) = &global.key_file {
            return Ok(Self::KeyFile(file.clone()));
        }
        if let Some(passphrase) = from_environment() {
            return Ok(Self::Passphrase(passphrase));
        }
        if terminal.is_interactive()
            && let Some(passphrase) =
                ask_twice(terminal, "Passphrase for this device's data (empty: use a key file): ")?
        {
            if let Some(hint) = weakness(&passphrase) {
                terminal.complain(hint);
            }
            return Ok(Self::Passphrase(passphrase));
        }
        Ok(Self::UsualKeyFile)
    }

    /// Says where the secret of a new home is, if that was not the user's choice.
    pub(crate) fn explain(&self, terminal: &Terminal) {
        if matches!(self, Self::UsualKeyFile) {
            terminal.say("No passphrase: a key file in your configuration folder opens this home.");
        }
    }

    /// Gives the secret to `builder`.
    pub(crate) fn unlock(&self, builder: Builder) -> Builder {
        match self {
            Self::UsualKeyFile => builder,
            Self::Remembered => builder.remembered(),
            Self::KeyFile(file) => builder.key_file(file.clone()),
            Self::Passphrase(passphrase) => builder.passphrase(passphrase.clone()),
        }
    }
}

/// What makes a passphrase easy to guess, in words.
pub(crate) fn weakness(passphrase: &str) -> Option<&'static str> {
    let is_short = passphrase.chars().count() < LENGTH_MIN;
    let mut different: Vec<char> = passphrase.chars().collect();
    different.sort_unstable();
    different.dedup();
    (is_short || different.len() < LENGTH_MIN / 2).then_some(
        "hint: whoever gets hold of this device can try short passphrases one by one; four or five \
         words that do not belong together are better and easy to keep in mind",
    )
}

/// The passphrase that is to open a home from now on, from the environment or typed twice.
pub(crate) fn new_passphrase(terminal: &Terminal) -> Result<String, Problem> {
    let empty = || problem::usage("an empty passphrase protects nothing; give another one");
    if let Ok(passphrase) = std::env::var(NEW_VARIABLE) {
        return if passphrase.is_empty() { Err(empty()) } else { Ok(passphrase) };
    }
    if !terminal.is_interactive() {
        return Err(problem::usage(format!(
            "there is no terminal to ask for the new passphrase; set {NEW_VARIABLE}"
        )));
    }
    ask_twice(terminal, "New passphrase: ")?.ok_or_else(empty)
}

fn from_environment() -> Option<String> {
    std::env::var(VARIABLE).ok().filter(|passphrase| !passphrase.is_empty())
}

fn ask(question: &str) -> Result<String, Problem> {
    rpassword::prompt_password(question)
        .map_err(|error| problem::failed(format!("cannot read the passphrase: {error}")))
}

fn ask_twice(terminal: &Terminal, question: &str) -> Result<Option<String>, Problem> {
    for _ in 0..ATTEMPTS_MAX {
        let passphrase = ask(question)?;
        if passphrase.is_empty() {
            return Ok(None);
        }
        if ask("The same again: ")? == passphrase {
            return Ok(Some(passphrase));
        }
        terminal.complain("The two differ.");
    }
    Err(problem::usage("no passphrase was typed twice alike"))
}

#[cfg(test)]
mod tests {
    use super::weakness;

    #[test]
    fn whoever_chooses_what_is_easily_guessed_gets_a_hint() {
        for weak in ["x", "permian2026", "aaaaaaaaaaaaaaaaaaaa"] {
            assert!(weakness(weak).is_some(), "{weak}");
        }
        assert_eq!(weakness("four words about rain"), None);
    }
}
