//! The people who log in to the tenants of a relay.
//!
//! ```text
//! data/accounts/<id>      the people of the tenant of this id, their sessions and keys; sealed
//! ```

mod account;
mod book;
mod file;
mod password;
mod reset;
mod session;
mod token;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use fieldmesh::api::{Class, Problem};
use fieldmesh_model::{Moment, Role, TenantId, UserId};
use fieldmesh_store::KeyFile;
use ring::rand::{SecureRandom as _, SystemRandom};

pub(crate) use self::account::{Account, NewUser, UserReport};
pub(crate) use self::book::{Book, BookError, Names, Opened, Sessions};
pub(crate) use self::file::{FileError, read_sealed, write_sealed};
pub(crate) use self::password::{Password, Unfit};
pub(crate) use self::session::{DEVICE_LENGTH_MAX, RefreshToken};
pub(crate) use self::token::{TOKEN_SECONDS, tenant as tenant_of_token};
use crate::problem;

/// What the home of a tenant holds that has people.
const PEOPLE_FILE: &str = "people";
/// The longest e-mail address, name or alias of a person.
const TEXT_LENGTH_MAX: usize = 254;
/// The most practices or aliases of a person.
const LISTED_MAX: usize = 100;

/// The people of every tenant of a data folder.
pub(crate) struct Accounts {
    folder: PathBuf,
    key_file: PathBuf,
    books: Mutex<BTreeMap<TenantId, Arc<Book>>>,
    /// Tenants whose file was found damaged or missing when it was read last.
    damaged: Mutex<BTreeSet<TenantId>>,
    /// Tenants that are served no more; nobody logs in to them.
    dismissed: Mutex<BTreeSet<TenantId>>,
}

impl Accounts {
    /// Those whose files are in `folder`, sealed by the key in `key_file`; opens none so far.
    pub(crate) fn new(folder: PathBuf, key_file: PathBuf) -> Self {
        let (damaged, dismissed) = (Mutex::default(), Mutex::default());
        Self { folder, key_file, books: Mutex::default(), damaged, dismissed }
    }

    /// Opens the people of a tenant no more: its files are about to go.
    pub(crate) fn dismiss(&self, tenant: TenantId) {
        let mut books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        self.dismissed.lock().unwrap_or_else(PoisonError::into_inner).insert(tenant);
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner).remove(&tenant);
        books.remove(&tenant);
    }

    /// Opens them again: the tenant is served anew.
    pub(crate) fn welcome(&self, tenant: TenantId) {
        self.dismissed.lock().unwrap_or_else(PoisonError::into_inner).remove(&tenant);
    }

    /// Whether anybody was ever added to a tenant.
    pub(crate) fn has(&self, tenant: TenantId) -> bool {
        self.folder.join(tenant.short()).exists()
    }

    /// Fails where people were added to a tenant and their file is gone: a new one would have nobody
    /// in it, and nobody would be told.
    fn refuse_missing(&self, tenant: TenantId) -> Result<(), Problem> {
        if self.has(tenant) || !self.mark(tenant).exists() {
            return Ok(());
        }
        Err(problem::store(format!(
            "{} is missing, and with it the people who log in; put it back from a backup, or remove \
             {} and add them anew",
            self.folder.join(tenant.short()).display(),
            self.mark(tenant).display()
        )))
    }

    /// Notes in the home of a tenant that it has people.
    fn remember(&self, tenant: TenantId) -> Result<(), Problem> {
        let mark = self.mark(tenant);
        let Some(home) = mark.parent().filter(|home| home.exists() && !mark.exists()) else {
            return Ok(());
        };
        std::fs::write(&mark, "")
            .and_then(|()| std::fs::File::open(home)?.sync_all())
            .map_err(|error| problem::file(&mark, &error))
    }

    /// The file in a tenant's home that says that there are people.
    fn mark(&self, tenant: TenantId) -> PathBuf {
        let data = self.folder.parent().unwrap_or(&self.folder);
        data.join("tenants").join(tenant.short()).join(PEOPLE_FILE)
    }

    /// Reads the file of a tenant's people to its end, if there is one; changes nothing.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(crate) fn check(&self, tenant: TenantId) -> Result<(), Problem> {
        self.noted(tenant, self.read(tenant))
    }

    /// Whether the file of a tenant's people was damaged or missing when it was read last.
    pub(crate) fn is_damaged(&self, tenant: TenantId) -> bool {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner).contains(&tenant)
    }

    /// How many refresh tokens of a tenant's people came again when they were not good any more, or
    /// from another device, since the start.
    pub(crate) fn reused(&self, tenant: TenantId) -> u64 {
        let books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        books.get(&tenant).map_or(0, |book| book.reused())
    }

    /// Notes how reading the file went. A disk that does not answer is no damage.
    fn noted<T>(&self, tenant: TenantId, read: Result<T, Problem>) -> Result<T, Problem> {
        let mut damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        match &read {
            Ok(_) => {
                damaged.remove(&tenant);
            }
            Err(problem) if problem.class == Class::Store => {
                damaged.insert(tenant);
            }
            Err(_) => {}
        }
        drop(damaged);
        read
    }

    fn read(&self, tenant: TenantId) -> Result<(), Problem> {
        let path = self.folder.join(tenant.short());
        if !path.exists() {
            return self.refuse_missing(tenant);
        }
        let key =
            KeyFile::read(&self.key_file).map_err(|error| problem::store(error.to_string()))?;
        let books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        let book = books.get(&tenant).cloned();
        // A book that is opened meanwhile cuts off what a crash left.
        let opening = book.is_none().then_some(books);
        let writing = book.as_ref().map(|book| book.pause());
        let checked = file::check(&path, &key).map_err(|error| of_file(&error));
        drop((writing, opening));
        checked
    }

    /// The file of a tenant's people as it is at one moment, if there is one; all of it is decoded.
    ///
    /// # Errors
    ///
    /// What is wrong with it, also that it is gone.
    pub(crate) fn copy(&self, tenant: TenantId) -> Result<Option<Vec<u8>>, Problem> {
        // Held so that nobody opens the file before it is copied.
        let books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(book) = books.get(&tenant).cloned() {
            drop(books);
            return book.copy().map(Some).map_err(|error| of_file(&error));
        }
        let path = self.folder.join(tenant.short());
        if !path.exists() {
            self.refuse_missing(tenant)?;
            return Ok(None);
        }
        let key =
            KeyFile::read(&self.key_file).map_err(|error| problem::store(error.to_string()))?;
        book::copy(&path, &key).map(Some).map_err(|error| of_file(&error))
    }

    /// The people of a tenant; blocks while their file is read for the first time.
    ///
    /// # Errors
    ///
    /// The file cannot be used.
    pub(crate) fn of(&self, tenant: TenantId) -> Result<Arc<Book>, Problem> {
        let open = self.books.lock().unwrap_or_else(PoisonError::into_inner).get(&tenant).cloned();
        // One that is open says nothing of what the disk has by now.
        open.map_or_else(|| self.noted(tenant, self.open(tenant)), Ok)
    }

    fn open(&self, tenant: TenantId) -> Result<Arc<Book>, Problem> {
        let mut books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(book) = books.get(&tenant) {
            return Ok(Arc::clone(book));
        }
        if self.dismissed.lock().unwrap_or_else(PoisonError::into_inner).contains(&tenant) {
            return Err(problem::not_found("the tenant was removed from this relay"));
        }
        let path = self.folder.join(tenant.short());
        self.refuse_missing(tenant)?;
        let key =
            KeyFile::read(&self.key_file).map_err(|error| problem::store(error.to_string()))?;
        let opened = create_private(&self.folder).map_err(|error| problem::file(&path, &error));
        opened?;
        let book = Book::open(&path, key, now()).map_err(|error| of_file(&error))?;
        self.remember(tenant)?;
        let book = Arc::new(book);
        books.insert(tenant, Arc::clone(&book));
        Ok(book)
    }
}

/// Ends all sessions in the file at `path`, which nobody uses, sealed by the key in `key_file`.
///
/// # Errors
///
/// The file is damaged, or cannot be written.
pub(crate) fn end_sessions(path: &Path, key_file: &Path) -> Result<(), Problem> {
    let key = KeyFile::read(key_file).map_err(|error| problem::store(error.to_string()))?;
    let book = Book::open(path, key, now()).map_err(|error| of_file(&error))?;
    book.end_sessions(now()).map_err(|error| of_book(&error, ""))
}

/// The account that an operator wants, of the person `id`.
///
/// # Errors
///
/// What is wrong with it.
pub(crate) fn new_account(new: &NewUser, id: UserId, at: Moment) -> Result<Account, Problem> {
    let email = check_email(&new.email)?;
    if new.role == Role::Relay {
        return Err(problem::usage("a relay is no person; see `invite --role relay`"));
    }
    let name = new.name.clone().unwrap_or_else(|| email.clone());
    let texts = [&name].into_iter().chain(&new.aliases);
    let is_plain = |text: &String| text.len() <= TEXT_LENGTH_MAX && !has_controls(text);
    if !texts.into_iter().all(is_plain) {
        return Err(problem::invalid(format!(
            "names and aliases have at most {TEXT_LENGTH_MAX} bytes and no control characters"
        )));
    }
    if new.practices.len().max(new.aliases.len()) > LISTED_MAX {
        return Err(problem::invalid(format!("at most {LISTED_MAX} practices and aliases")));
    }
    let password = Password::new(&new.password).map_err(|unfit| problem::invalid(unfit.text()))?;
    Ok(Account {
        id,
        email,
        name,
        role: new.role,
        practices: new.practices.clone(),
        aliases: new.aliases.clone(),
        password,
        is_disabled: false,
        made: at,
    })
}

/// An e-mail address as accounts hold it: in lower case.
pub(crate) fn check_email(text: &str) -> Result<String, Problem> {
    let email = text.trim().to_lowercase();
    let is_address = email
        .split_once('@')
        .is_some_and(|(name, host)| !name.is_empty() && !host.is_empty() && !host.contains('@'));
    let is_plain = email.len() <= TEXT_LENGTH_MAX
        && !email.contains(char::is_whitespace)
        && !has_controls(&email);
    if is_address && is_plain {
        return Ok(email);
    }
    Err(problem::invalid(format!("{text:?} is no e-mail address")))
}

fn has_controls(text: &str) -> bool {
    text.chars().any(char::is_control)
}

/// A new id of a person whom nobody knows so far.
pub(crate) fn new_user() -> UserId {
    UserId::from_uuid(uuid::Builder::from_random_bytes(random()).into_uuid())
}

/// Why a change of an account failed, for the operator.
pub(crate) fn of_book(error: &BookError, email: &str) -> Problem {
    match error {
        BookError::File(error) => of_file(error),
        BookError::Taken => problem::invalid(format!("{email} has an account already")),
        BookError::Unknown => problem::not_found(format!(
            "nobody has the address {email}; `sync-relay user list` shows who has an account"
        )),
        BookError::Full => problem::failed("the tenant has as many accounts as there may be"),
        BookError::NotGood => problem::failed("the token is not good"),
    }
}

fn of_file(error: &FileError) -> Problem {
    use std::error::Error as _;
    let cause = error.source().map_or_else(String::new, |cause| format!(": {cause}"));
    match error {
        FileError::Disk { .. } => problem::failed(error.to_string()),
        _ => problem::store(format!("{error}{cause}")),
    }
}

fn create_private(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Bytes that nobody can guess.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("invariant: the system gives randomness");
    bytes
}

/// The time by this machine's clock.
pub(crate) fn now() -> Moment {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Moment::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_whose_file_is_gone_are_missed_and_not_replaced_by_nobody() {
        let data = tempfile::tempdir().unwrap();
        let (tenant, key) = (TenantId::from_bytes([7; 32]), data.path().join("relay.key"));
        KeyFile::create(&key).unwrap();
        std::fs::create_dir_all(data.path().join("tenants/07070707")).unwrap();
        let accounts = || Accounts::new(data.path().join("accounts"), key.clone());
        accounts().check(tenant).unwrap();
        drop(accounts().of(tenant).unwrap());
        accounts().check(tenant).unwrap();
        std::fs::remove_dir_all(data.path().join("accounts")).unwrap();
        assert!(accounts().check(tenant).unwrap_err().detail.contains("is missing"));
        assert!(accounts().of(tenant).is_err());
        assert!(!data.path().join("accounts").exists());
    }
}
