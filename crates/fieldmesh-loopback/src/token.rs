//! Where apps on this device read how to get in: the address and the token, for their owner only.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The file in the home.
pub const ACCESS_FILE: &str = "loopback.json";
/// The random bytes of a token.
const TOKEN_BYTES: usize = 32;

/// How to get in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// Where it listens, `http://127.0.0.1:7878` for one.
    pub url: String,
    /// What every request to `/v1` has to bring as `Authorization: Bearer`.
    pub token: String,
    /// What apps of existing systems log in with, where they are served. It opens nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apps_token: Option<String>,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Access {
    /// Writes the file of a home for a server at `url`.
    ///
    /// The token is another each time: what an app has told to whoever took the port after a server
    /// had ended opens nothing.
    pub(crate) fn write(home: &Path, url: String, apps: bool) -> io::Result<Self> {
        let path = home.join(ACCESS_FILE);
        let apps_token = apps.then(draw).transpose()?;
        let access = Self { url, token: draw()?, apps_token };
        let mut text = serde_json::to_vec_pretty(&access)?;
        text.push(b'\n');
        let temporary = path.with_extension("new");
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        // What an earlier start left may have other rights.
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = options.open(&temporary)?;
        file.write_all(&text)?;
        fs::rename(&temporary, &path)?;
        Ok(access)
    }

    /// Takes the file of a home away, if there is one: nobody is to send a token to whoever has the
    /// port next.
    pub fn forget(home: &Path) {
        match fs::remove_file(home.join(ACCESS_FILE)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, "the address for apps could not be taken away");
            }
            _ => {}
        }
    }

    /// Whether `given` is the token; how long that takes says nothing of it.
    pub(crate) fn admits(&self, given: &str) -> bool {
        is_same(given, &self.token)
    }

    /// Whether `given` is that of the apps.
    pub(crate) fn admits_app(&self, given: &str) -> bool {
        self.apps_token.as_ref().is_some_and(|token| is_same(given, token))
    }
}

fn is_same(given: &str, token: &str) -> bool {
    blake3::hash(given.as_bytes()) == blake3::hash(token.as_bytes())
}

fn draw() -> io::Result<String> {
    let mut bytes = [0; TOKEN_BYTES];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_token_is_for_its_owner_and_for_one_run_alone() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(ACCESS_FILE);
        fs::write(&path, "left by somebody").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        fs::write(path.with_extension("new"), "left by a crash").unwrap();
        let first = Access::write(home.path(), "http://127.0.0.1:1".into(), false).unwrap();
        let second = Access::write(home.path(), "http://127.0.0.1:2".into(), true).unwrap();
        assert_ne!(first.token, second.token);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let written: Access = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(written, second);
        assert!(second.admits(&second.token));
        assert!(!second.admits(&second.token[1..]) && !second.admits(""));
        assert!(!second.admits(&first.token));
        let of_apps = second.apps_token.clone().unwrap();
        assert!(second.admits_app(&of_apps) && !second.admits(&of_apps));
        assert!(!second.admits_app(&second.token) && !first.admits_app(&of_apps));
        assert!(!format!("{second:?}").contains(&second.token));
        for _ in 0..2 {
            Access::forget(home.path());
            assert!(!path.exists());
        }
    }
}
