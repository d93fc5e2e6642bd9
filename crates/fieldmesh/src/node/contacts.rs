//! Where peers were reached: an address book that survives a restart.

use std::collections::BTreeMap;
use std::sync::Mutex;

use fieldmesh_model::{DeviceId, Moment};
use fieldmesh_net::Transport;
use fieldmesh_net::address::comparable;
use fieldmesh_net::remembered::Remembered;

use crate::clock;
use crate::entry::Fact;
use crate::error::Error;
use crate::ledger::Ledger;

/// The key of an address whose device is not known so far.
const UNKNOWN: DeviceId = DeviceId::from_bytes([0; 32]);

/// Refusals that are kept on the disk; a device knows of few relays.
const REFUSALS_KEPT_MAX: usize = 64;
/// The longest words of a refusal that are kept, in characters.
const WORDS_LENGTH_MAX: usize = 600;

/// Where peers were reached, and what came of the last try.
pub(super) struct Contacts {
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    remembered: Remembered,
    /// What the last try of an address came to, however it was written, where it failed.
    failures: BTreeMap<String, Failure>,
    /// Whether the book differs from what is on disk.
    is_changed: bool,
    /// Whether it has an address that the disk has not.
    has_news: bool,
    /// Addresses that mDNS shows.
    nearby: Vec<String>,
    last_sync: Option<Moment>,
    /// When each device was last spoken with, whoever dialled; a tenant has few devices.
    met: BTreeMap<DeviceId, Moment>,
    /// What the last conversation with each of them that came into step travelled over.
    over: BTreeMap<DeviceId, Transport>,
}

/// Why the last try of an address failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// For people.
    pub(super) words: String,
    /// Whether somebody answered and ended the conversation for a reason that lasts.
    pub(super) is_refusal: bool,
}

/// An address to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Contact {
    pub(super) device: Option<DeviceId>,
    pub(super) address: String,
    pub(super) last_success: Option<Moment>,
    pub(super) failure: Option<Failure>,
}

impl Contacts {
    pub(super) fn open(ledger: &Ledger) -> Result<Self, Error> {
        let mut book = match ledger.recall(&Fact::Addresses(Vec::new()))? {
            Some(Fact::Addresses(bytes)) => Book::read(&bytes),
            _ => Book::default(),
        };
        if let Some(Fact::LastSync(at)) = ledger.recall(&Fact::LastSync(Moment::ZERO))? {
            book.last_sync = Some(at);
        }
        if let Some(Fact::Met(met)) = ledger.recall(&Fact::Met(Vec::new()))? {
            book.met = met.into_iter().collect();
        }
        Ok(Self { book: Mutex::new(book) })
    }

    /// An address somebody named, before it is known who answers there.
    pub(super) fn heard(&self, device: Option<DeviceId>, address: &str) {
        let mut book = self.lock();
        book.remembered.heard(device.unwrap_or(UNKNOWN), address);
        book.is_changed = true;
        book.has_news = true;
    }

    /// A conversation that came into step.
    pub(super) fn succeeded(&self, device: DeviceId, address: &str) {
        let mut book = self.lock();
        let is_known =
            book.remembered.addresses(&device).iter().any(|known| known.address == address);
        book.has_news |= !is_known;
        book.remembered.succeeded(device, address, clock::now());
        book.agreed(device, address);
        book.last_sync = Some(clock::now());
        book.is_changed = true;
    }

    /// A conversation that came into step about a part: nothing is said of the whole.
    pub(super) fn answered(&self, device: DeviceId, address: &str) {
        let is_known = {
            let mut book = self.lock();
            book.agreed(device, address);
            book.remembered.addresses(&device).iter().any(|known| known.address == address)
        };
        if !is_known {
            self.heard(Some(device), address);
        }
    }

    /// A conversation that came into step with somebody who dialled this device.
    pub(super) fn joined(&self) {
        let mut book = self.lock();
        book.last_sync = Some(clock::now());
        book.is_changed = true;
    }

    /// A device introduced itself, whoever dialled.
    pub(super) fn met(&self, device: DeviceId) {
        let mut book = self.lock();
        book.met.insert(device, clock::now());
        book.is_changed = true;
    }

    /// A conversation with a device came into step, whoever dialled.
    pub(super) fn went_over(&self, device: DeviceId, over: Transport) {
        let mut book = self.lock();
        let before = book.over.insert(device, over);
        // A relay is met by thousands that it never dials, and its book is of those that it does.
        book.is_changed |= before != Some(over) && book.is_remembered(&device);
    }

    /// What the last conversation with `device` that came into step travelled over.
    pub(super) fn last_over(&self, device: &DeviceId) -> Option<Transport> {
        self.lock().over.get(device).copied()
    }

    /// When `device` was last spoken with.
    pub(super) fn last_met(&self, device: &DeviceId) -> Option<Moment> {
        self.lock().met.get(device).copied()
    }

    /// The addresses that mDNS shows.
    pub(super) fn nearby(&self) -> Vec<String> {
        self.lock().nearby.clone()
    }

    pub(super) fn set_nearby(&self, addresses: Vec<String>) {
        self.lock().nearby = addresses;
    }

    /// A try that failed.
    pub(super) fn failed(&self, device: Option<DeviceId>, address: &str, error: &str) {
        let mut book = self.lock();
        book.remembered.failed(device.unwrap_or(UNKNOWN), address, clock::now());
        let failure = Failure { words: error.into(), is_refusal: false };
        let before = book.failures.insert(comparable(address), failure);
        book.is_changed |= before.is_some_and(|before| before.is_refusal);
    }

    /// Who answered at an address ended the conversation for a reason that lasts.
    pub(super) fn refused(&self, address: &str, reason: &str) {
        let words = reason.chars().take(WORDS_LENGTH_MAX).collect();
        let failure = Failure { words, is_refusal: true };
        let mut book = self.lock();
        let before = book.failures.insert(comparable(address), failure.clone());
        book.is_changed |= before.is_none_or(|before| before != failure);
    }

    /// Whether the last conversation at an address was refused.
    pub(super) fn is_refused(&self, address: &str) -> bool {
        self.failure(address).is_some_and(|failure| failure.is_refusal)
    }

    /// Why the last try of an address failed, if it did.
    pub(super) fn failure(&self, address: &str) -> Option<Failure> {
        self.lock().failures.get(&comparable(address)).cloned()
    }

    pub(super) fn last_sync(&self) -> Option<Moment> {
        self.lock().last_sync
    }

    /// Every address, those that worked last first.
    pub(super) fn all(&self) -> Vec<Contact> {
        let book = self.lock();
        let mut contacts = Vec::new();
        for (device, known) in book.remembered.devices() {
            for known in known {
                contacts.push(Contact {
                    device: (*device != UNKNOWN).then_some(*device),
                    address: known.address.clone(),
                    last_success: known.last_success,
                    failure: book.failures.get(&comparable(&known.address)).cloned(),
                });
            }
        }
        contacts.sort_by_key(|contact| (std::cmp::Reverse(contact.last_success), contact.device));
        // An address that has been matched to a device needs no second, nameless entry.
        let known: Vec<String> = contacts
            .iter()
            .filter(|contact| contact.device.is_some())
            .map(|contact| contact.address.clone())
            .collect();
        contacts.retain(|contact| contact.device.is_some() || !known.contains(&contact.address));
        contacts
    }

    /// Whether there is an address that a crash would lose.
    pub(super) fn has_news(&self) -> bool {
        self.lock().has_news
    }

    /// Writes the book to disk if it has changed. Blocks.
    pub(super) fn save(&self, ledger: &Ledger) -> Result<(), Error> {
        let (bytes, last_sync, met) = {
            let mut book = self.lock();
            if !std::mem::take(&mut book.is_changed) {
                return Ok(());
            }
            book.has_news = false;
            let bytes = book.written();
            let met: Vec<_> = book.met.iter().map(|(device, at)| (*device, *at)).collect();
            (bytes, book.last_sync, met)
        };
        ledger.remember(Fact::Addresses(bytes))?;
        if !met.is_empty() {
            ledger.remember(Fact::Met(met))?;
        }
        if let Some(at) = last_sync {
            ledger.remember(Fact::LastSync(at))?;
        }
        ledger.note_agreed()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Book> {
        self.book.lock().expect("no holder of this lock panics")
    }
}

impl Book {
    /// What is written of it. Addresses are a convenience: an unreadable book is an empty one.
    fn read(bytes: &[u8]) -> Self {
        let (remembered, rest) = postcard::take_from_bytes(bytes).unwrap_or_default();
        // Books of before end here or behind the refusals, and programs of before read no further.
        let read = postcard::take_from_bytes(rest);
        let (refusals, rest): (Vec<(String, String)>, &[u8]) = read.unwrap_or_default();
        let over: Vec<(DeviceId, Transport)> = postcard::from_bytes(rest).unwrap_or_default();
        let failure = |words| Failure { words, is_refusal: true };
        let failures = refusals.into_iter().map(|(place, words)| (place, failure(words)));
        let (failures, over) = (failures.collect(), over.into_iter().collect());
        Self { remembered, failures, over, ..Self::default() }
    }

    fn is_remembered(&self, device: &DeviceId) -> bool {
        !self.remembered.addresses(device).is_empty()
    }

    fn written(&self) -> Vec<u8> {
        let refusals: Vec<(&String, &String)> = self
            .failures
            .iter()
            .filter(|(_, failure)| failure.is_refusal)
            .map(|(place, failure)| (place, &failure.words))
            .take(REFUSALS_KEPT_MAX)
            .collect();
        let over: Vec<_> =
            self.over.iter().filter(|(device, _)| self.is_remembered(device)).collect();
        postcard::to_allocvec(&(&self.remembered, refusals, over))
            .expect("an address book holds nothing unserialisable")
    }

    /// Both held the same: what `address` came to before is over, and so is every refusal.
    fn agreed(&mut self, device: DeviceId, address: &str) {
        let others = self.remembered.addresses(&device).iter();
        for place in others.map(|known| comparable(&known.address)) {
            if self.failures.get(&place).is_some_and(|failure| failure.is_refusal) {
                self.failures.remove(&place);
                self.is_changed = true;
            }
        }
        let failure = self.failures.remove(&comparable(address));
        self.is_changed |= failure.is_some_and(|failure| failure.is_refusal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn books_of_before_are_read_and_programs_of_before_read_the_books_of_now() {
        let (device, at) = (DeviceId::from_bytes([7; 32]), Moment::from_millis(5));
        let mut book = Book::default();
        book.remembered.succeeded(device, "192.0.2.7:7843", at);
        let failure = Failure { words: "it was revoked".into(), is_refusal: true };
        book.failures.insert("192.0.2.7:7843".into(), failure.clone());
        book.over.insert(device, Transport::Tcp);
        let written = book.written();
        let mut met = Book { over: book.over.clone(), ..Book::default() };
        met.over.insert(DeviceId::from_bytes([8; 32]), Transport::Quic);
        met.remembered = book.remembered.clone();
        met.failures.insert("192.0.2.7:7843".into(), failure.clone());
        assert_eq!(met.written(), written, "nothing of who has no address here");
        let again = Book::read(&written);
        assert_eq!(again.remembered, book.remembered);
        assert_eq!((again.failures, again.over), (book.failures, book.over));

        let refusals = vec![("192.0.2.7:7843".to_owned(), failure.words)];
        let before: (Remembered, Vec<(String, String)>) = postcard::from_bytes(&written).unwrap();
        assert_eq!(before, (book.remembered.clone(), refusals));
        for (bytes, refused) in [
            (postcard::to_allocvec(&before).unwrap(), 1),
            (postcard::to_allocvec(&before.0).unwrap(), 0),
        ] {
            let read = Book::read(&bytes);
            assert_eq!(read.remembered, book.remembered);
            assert_eq!((read.failures.len(), read.over.len()), (refused, 0));
        }
        assert_eq!(Book::read(b"nonsense").remembered, Remembered::default());
    }
}
