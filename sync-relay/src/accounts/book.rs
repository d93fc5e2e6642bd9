//! The people of one tenant, their sessions and the keys of their tokens.
//!
//! Whoever asks reads memory; whoever changes something writes the file first. One writes at a
//! time, and nobody who reads waits for the disk.

mod passwords;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard};

use fieldmesh_model::{Moment, UserId};
use fieldmesh_store::KeyFile;
use serde::{Deserialize, Serialize};

use super::account::{Account, UserReport};
use super::file::{self, AccountsFile, FileError};
use super::password::Password;
use super::random;
use super::reset::Resets;
use super::session::{RefreshToken, SESSIONS_PER_USER_MAX, Session, SessionId, Standing};
use super::token::{self, Claims, SigningKey, TOKEN_SECONDS};

/// The most accounts of a tenant.
pub(crate) const USERS_MAX: usize = 100_000;
/// From how many entries on a file is written anew when most of them say nothing new.
const REWRITE_COUNT_MIN: u64 = 1_024;
/// How many sessions end in one frame of the file, of which each is a few bytes.
const ENDED_AT_ONCE: usize = 65_536;

/// One entry of the file; its order is part of the format.
#[derive(Clone, Serialize, Deserialize)]
enum Entry {
    /// The key from which successors of refresh tokens follow.
    Succession([u8; 32]),
    /// A key of access tokens, as it is from now on.
    Key(SigningKey),
    /// A person, as from now on.
    Account(Account),
    /// A session, as from now on.
    Session(Session),
    /// A session that has ended.
    Ended(SessionId),
}

/// The people of one tenant.
pub(crate) struct Book {
    path: PathBuf,
    key: KeyFile,
    file: Mutex<AccountsFile>,
    state: RwLock<State>,
    resets: Mutex<Resets>,
    reused: AtomicU64,
}

#[derive(Default)]
struct State {
    succession: [u8; 32],
    keys: Vec<SigningKey>,
    accounts: BTreeMap<UserId, Account>,
    by_email: BTreeMap<String, UserId>,
    sessions: BTreeMap<SessionId, Session>,
    by_user: BTreeSet<(UserId, SessionId)>,
}

/// Why a change was not made.
#[derive(Debug)]
pub(crate) enum BookError {
    /// The file cannot be written.
    File(FileError),
    /// Somebody has the address or the id already.
    Taken,
    /// Nobody has this address.
    Unknown,
    /// There are as many as there may be.
    Full,
    /// The token is none, or of a session that has ended or ends by it.
    NotGood,
}

impl From<FileError> for BookError {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}

/// A session that was opened or renewed.
pub(crate) struct Opened {
    pub(crate) account: Account,
    pub(crate) access: String,
    pub(crate) refresh: String,
}

impl Book {
    /// Reads the file at `path`, or makes one.
    pub(crate) fn open(path: &Path, key: KeyFile, at: Moment) -> Result<Self, FileError> {
        let (file, entries) = AccountsFile::open(path, &key)?;
        let mut state = State::default();
        for bytes in entries {
            let entry = postcard::from_bytes(&bytes)
                .map_err(|_| FileError::Damaged { path: path.display().to_string() })?;
            state.apply(entry);
        }
        let is_new = state.keys.is_empty();
        let book = Self {
            path: path.into(),
            key,
            file: Mutex::new(file),
            state: RwLock::new(state),
            resets: Mutex::default(),
            reused: AtomicU64::new(0),
        };
        if is_new {
            let first = vec![Entry::Succession(random()), Entry::Key(SigningKey::new(at))];
            book.change(at, |_| Ok((first, ()))).map_err(|error| match error {
                BookError::File(error) => error,
                _ => FileError::Damaged { path: path.display().to_string() },
            })?;
        }
        Ok(book)
    }

    /// Keeps everybody from writing the file as long as this is held.
    pub(crate) fn pause(&self) -> impl Sized + use<'_> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a person.
    pub(crate) fn add(&self, account: Account, at: Moment) -> Result<UserReport, BookError> {
        self.change(at, |state| {
            let is_known = state.accounts.contains_key(&account.id);
            if is_known || state.by_email.contains_key(&account.email) {
                return Err(BookError::Taken);
            }
            if state.accounts.len() >= USERS_MAX {
                return Err(BookError::Full);
            }
            let report = state.report(&account, at);
            Ok((vec![Entry::Account(account)], report))
        })
    }

    /// Changes a person; where `ends_sessions`, every token ends with it.
    pub(crate) fn update(
        &self,
        email: &str,
        at: Moment,
        ends: Sessions,
        change: impl FnOnce(&mut Account),
    ) -> Result<UserReport, BookError> {
        let decide = |state: &State| {
            let mut account = state.find(email).ok_or(BookError::Unknown)?.clone();
            change(&mut account);
            let mut entries = vec![Entry::Account(account.clone())];
            if ends == Sessions::End {
                entries.extend(state.sessions_of(account.id).map(|one| Entry::Ended(one.id)));
            }
            let mut report = state.report(&account, at);
            if ends == Sessions::End {
                report.sessions = 0;
            }
            Ok((entries, (report, account.id)))
        };
        let changed = self.change_then(at, decide, |(_, user)| {
            if ends == Sessions::End {
                self.resets().end(*user);
            }
        });
        changed.map(|(report, _)| report)
    }

    /// Everybody, by address.
    pub(crate) fn list(&self, at: Moment) -> Vec<UserReport> {
        let state = self.state();
        let ids = state.by_email.values();
        ids.filter_map(|id| state.accounts.get(id)).map(|one| state.report(one, at)).collect()
    }

    /// The person with an address.
    pub(crate) fn find(&self, email: &str) -> Option<Account> {
        self.state().find(email).cloned()
    }

    /// The person of an id.
    pub(crate) fn person(&self, user: UserId) -> Option<Account> {
        self.state().accounts.get(&user).cloned()
    }

    /// Opens a session of somebody who proved that his password was `known`; `tenant` is how tokens
    /// name it.
    pub(crate) fn log_in(
        &self,
        names: &Names<'_>,
        email: &str,
        known: &Password,
        device: Option<String>,
        at: Moment,
    ) -> Result<Opened, BookError> {
        self.change(at, |state| {
            // Whoever changed it meanwhile ended every session of the one that was proved.
            let account = state.able(email).filter(|account| account.password == *known);
            let account = account.ok_or(BookError::Unknown)?.clone();
            let (session, token) = Session::open(names.short, account.id, device, at);
            let mut open: Vec<&Session> = state.sessions_of(account.id).collect();
            open.sort_by_key(|session| session.used);
            let surplus = (open.len() + 1).saturating_sub(SESSIONS_PER_USER_MAX);
            let mut entries: Vec<Entry> =
                open.iter().take(surplus).map(|one| Entry::Ended(one.id)).collect();
            let key = state.key_to_sign(at, &mut entries);
            let access = key.sign(&claims(names, &account, &session, at));
            entries.push(Entry::Session(session));
            Ok((entries, Opened { account, access, refresh: token.to_text() }))
        })
    }

    /// Renews a session by a token that is good; one that was good ends the session instead.
    pub(crate) fn renew(
        &self,
        names: &Names<'_>,
        token: &RefreshToken,
        device: Option<&str>,
        at: Moment,
    ) -> Result<Opened, BookError> {
        let renewed = self.change(at, |state| {
            let session = state.sessions.get(&token.session).ok_or(BookError::NotGood)?;
            let account = state.accounts.get(&session.user).ok_or(BookError::NotGood)?.clone();
            let other = session.device.as_deref().zip(device).is_some_and(|(own, it)| own != it);
            if account.is_disabled || session.is_over(at) {
                return Err(BookError::NotGood);
            }
            if other || session.standing(token) == Standing::Spent {
                return Ok((vec![Entry::Ended(session.id)], None));
            }
            let (session, successor) = session.renew(token, &state.succession, device, at);
            let mut entries = Vec::new();
            let key = state.key_to_sign(at, &mut entries);
            let access = key.sign(&claims(names, &account, &session, at));
            entries.push(Entry::Session(session));
            Ok((entries, Some(Opened { account, access, refresh: successor.to_text() })))
        })?;
        if renewed.is_none() {
            self.reused.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(
                tenant = names.short,
                "a refresh token was used again, or by another device; its session ended"
            );
        }
        renewed.ok_or(BookError::NotGood)
    }

    /// How many refresh tokens came again when they were not good any more, or from another device,
    /// since the book was opened.
    pub(crate) fn reused(&self) -> u64 {
        self.reused.load(Ordering::Relaxed)
    }

    /// Who an access token belongs to now, and its device.
    pub(crate) fn prove(
        &self,
        names: &Names<'_>,
        access: &str,
        at: Moment,
    ) -> Option<(Account, Option<String>)> {
        let state = self.state();
        let claims = token::verify(access, &state.keys, at)?;
        let session = state.sessions.get(&claims.session()?)?;
        let account = state.accounts.get(&session.user)?;
        let holds = claims.tenant_id == names.tenant
            && claims.sub == account.id
            && !account.is_disabled
            && !session.is_over(at);
        holds.then(|| (account.clone(), session.device.clone()))
    }

    /// Makes a new key for tokens; those signed before end at once, and sessions go on.
    pub(crate) fn rotate_key(&self, at: Moment) -> Result<(), BookError> {
        self.change(at, |state| {
            let ended = state.keys.iter().map(|key| Entry::Key(key.ended(at)));
            let entries = ended.chain([Entry::Key(SigningKey::new(at))]).collect();
            Ok((entries, ()))
        })
    }

    /// Ends every session and every token, as after a restore: of sessions that are put back nobody
    /// knows which were renewed, ended or stolen since.
    pub(crate) fn end_sessions(&self, at: Moment) -> Result<(), BookError> {
        self.change(at, |state| {
            let keys = state.keys.iter().map(|key| Entry::Key(key.ended(at)));
            let new = [Entry::Succession(random()), Entry::Key(SigningKey::new(at))];
            Ok((keys.chain(new).collect(), ()))
        })?;
        while !self.state().sessions.is_empty() {
            self.change(at, |state| {
                let some = state.sessions.keys().take(ENDED_AT_ONCE);
                Ok((some.map(|id| Entry::Ended(*id)).collect(), ()))
            })?;
        }
        Ok(())
    }

    /// The bytes of the file, which nobody writes meanwhile.
    pub(crate) fn copy(&self) -> Result<Vec<u8>, FileError> {
        let _file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        copy(&self.path, &self.key)
    }

    /// Decides on a change, writes it, then lets everybody see it.
    fn change<T>(
        &self,
        at: Moment,
        decide: impl FnOnce(&State) -> Result<(Vec<Entry>, T), BookError>,
    ) -> Result<T, BookError> {
        self.change_then(at, decide, |_| ())
    }

    /// The same, with what follows once it is written and before the next change.
    fn change_then<T>(
        &self,
        at: Moment,
        decide: impl FnOnce(&State) -> Result<(Vec<Entry>, T), BookError>,
        then: impl FnOnce(&T),
    ) -> Result<T, BookError> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let (entries, result) = decide(&self.state())?;
        let bytes: Vec<Vec<u8>> = entries.iter().map(encode).collect();
        file.append(&bytes)?;
        then(&result);
        let live = {
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            entries.into_iter().for_each(|entry| state.apply(entry));
            state.count()
        };
        if file.count >= REWRITE_COUNT_MIN && file.count / 2 > live {
            self.rewrite(&mut file, at);
        }
        Ok(result)
    }

    /// Writes the file anew without what says nothing any more; failing that, it goes on as it is.
    fn rewrite(&self, file: &mut AccountsFile, at: Moment) {
        let entries = {
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            let over = state.sessions.values().filter(|session| session.is_over(at));
            let over: Vec<SessionId> = over.map(|session| session.id).collect();
            over.into_iter().for_each(|id| state.apply(Entry::Ended(id)));
            state.keys.retain(|key| key.is_good(at));
            state.entries()
        };
        let bytes: Vec<Vec<u8>> = entries.iter().map(encode).collect();
        match AccountsFile::write_new(&self.path, &self.key, &bytes) {
            Ok(written) => *file = written,
            Err(error) => tracing::warn!(%error, "accounts not written anew"),
        }
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bytes of a file of people that nobody writes; all of it is decoded.
pub(super) fn copy(path: &Path, key: &KeyFile) -> Result<Vec<u8>, FileError> {
    let (bytes, entries) = file::copy(path, key)?;
    for entry in entries {
        postcard::from_bytes::<Entry>(&entry)
            .map_err(|_| FileError::Damaged { path: path.display().to_string() })?;
    }
    Ok(bytes)
}

/// What becomes of the sessions of somebody who is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sessions {
    /// They end, and every token with them.
    End,
    /// They go on.
    Stay,
}

/// How tokens name a tenant.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Names<'a> {
    /// In claims.
    pub(crate) tenant: &'a str,
    /// In refresh tokens.
    pub(crate) short: &'a str,
}

impl State {
    fn apply(&mut self, entry: Entry) {
        match entry {
            Entry::Succession(key) => self.succession = key,
            Entry::Key(key) => {
                self.keys.retain(|other| other.id != key.id);
                self.keys.push(key);
            }
            Entry::Account(account) => {
                if let Some(before) = self.accounts.get(&account.id) {
                    self.by_email.remove(&before.email);
                }
                self.by_email.insert(account.email.clone(), account.id);
                self.accounts.insert(account.id, account);
            }
            Entry::Session(session) => {
                self.by_user.insert((session.user, session.id));
                self.sessions.insert(session.id, session);
            }
            Entry::Ended(id) => {
                if let Some(session) = self.sessions.remove(&id) {
                    self.by_user.remove(&(session.user, id));
                }
            }
        }
    }

    /// Everything that holds, as entries of a new file.
    fn entries(&self) -> Vec<Entry> {
        let keys = self.keys.iter().cloned().map(Entry::Key);
        let accounts = self.accounts.values().cloned().map(Entry::Account);
        let sessions = self.sessions.values().cloned().map(Entry::Session);
        [Entry::Succession(self.succession)]
            .into_iter()
            .chain(keys)
            .chain(accounts)
            .chain(sessions)
            .collect()
    }

    fn count(&self) -> u64 {
        (1 + self.keys.len() + self.accounts.len() + self.sessions.len()) as u64
    }

    fn find(&self, email: &str) -> Option<&Account> {
        self.accounts.get(self.by_email.get(&email.trim().to_lowercase())?)
    }

    fn sessions_of(&self, user: UserId) -> impl Iterator<Item = &Session> {
        let of_user = self.by_user.range((user, [0; 16])..=(user, [255; 16]));
        of_user.filter_map(|(_, id)| self.sessions.get(id))
    }

    /// The key that signs at `at`; where it is old, another takes its place.
    fn key_to_sign(&self, at: Moment, entries: &mut Vec<Entry>) -> SigningKey {
        let newest = self.keys.iter().rfind(|key| key.ends.is_none());
        match newest {
            Some(key) if !key.is_old(at) => key.clone(),
            other => {
                let key = SigningKey::new(at);
                entries.extend(other.map(|old| Entry::Key(old.retired(at))));
                entries.push(Entry::Key(key.clone()));
                key
            }
        }
    }

    fn report(&self, account: &Account, at: Moment) -> UserReport {
        let open = self.sessions_of(account.id).filter(|session| !session.is_over(at));
        let used: Vec<Moment> = open.map(|session| session.used).collect();
        UserReport {
            id: account.id,
            email: account.email.clone(),
            name: account.name.clone(),
            role: account.role,
            active: !account.is_disabled,
            practices: account.practices.clone(),
            aliases: account.aliases.clone(),
            created_at: account.made,
            sessions: used.len(),
            last_seen: used.into_iter().max(),
        }
    }
}

fn claims(names: &Names<'_>, account: &Account, session: &Session, at: Moment) -> Claims {
    let (jti, sid) = Claims::ids(&session.id);
    let iat = at.as_millis().div_euclid(1_000);
    Claims {
        sub: account.id,
        tenant_id: names.tenant.to_owned(),
        role: account.role.as_str().to_uppercase(),
        practice_ids: account.practices.iter().copied().collect(),
        device_id: session.device.clone(),
        iat,
        exp: iat + i64::from(TOKEN_SECONDS),
        jti,
        sid,
    }
}

fn encode(entry: &Entry) -> Vec<u8> {
    postcard::to_stdvec(entry).expect("invariant: plain structs of texts and numbers always encode")
}
