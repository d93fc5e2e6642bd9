//! The marks in records: each says of which tenant it is, and stands in one record only.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::device::minute_of_march;

/// What a mark begins with; nothing else that devices or apps show does.
const BEGIN: &str = "mark-";
/// Digits of the tenant and of the number.
const TENANT_DIGITS: usize = 5;
const NUMBER_DIGITS: usize = 7;
/// The most that is told of what is missing.
const TOLD_MAX: usize = 5;

/// A mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark {
    tenant: usize,
    pub(crate) number: usize,
}

impl Mark {
    /// As it stands in a record.
    pub(crate) fn text(self) -> String {
        format!("{BEGIN}{:0TENANT_DIGITS$}-{:0NUMBER_DIGITS$}", self.tenant, self.number)
    }

    /// The time that a record is about, which no other record of the tenant has: a second of March.
    pub(crate) fn at(self) -> String {
        let (minutes, second) = (self.number / 60, self.number % 60);
        minute_of_march(minutes).replace(":00Z", &format!(":{second:02}Z"))
    }

    fn read(text: &str) -> Option<Self> {
        let text = text.get(..TENANT_DIGITS + 1 + NUMBER_DIGITS)?;
        let (tenant, number) = text.split_once('-')?;
        Some(Self { tenant: tenant.parse().ok()?, number: number.parse().ok()? })
    }
}

/// How often each mark stands in what somebody showed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen(BTreeMap<Mark, usize>);

impl Seen {
    pub(crate) fn add(&mut self, text: &str) {
        for mark in text.split(BEGIN).skip(1).filter_map(Mark::read) {
            *self.0.entry(mark).or_default() += 1;
        }
    }

    pub(crate) fn holds(&self, mark: Mark) -> bool {
        self.0.contains_key(&mark)
    }

    /// How many marks.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }
}

/// The marks of one tenant.
pub(crate) struct Marks {
    tenant: usize,
    next: AtomicUsize,
    acknowledged: Mutex<BTreeSet<Mark>>,
}

impl Marks {
    pub(crate) fn of(tenant: usize) -> Self {
        Self { tenant, next: AtomicUsize::default(), acknowledged: Mutex::default() }
    }

    /// A mark that nobody had.
    pub(crate) fn draw(&self) -> Mark {
        Mark { tenant: self.tenant, number: self.next.fetch_add(1, Ordering::Relaxed) }
    }

    /// Notes what the relay said it has.
    pub(crate) fn acknowledge(&self, marks: impl IntoIterator<Item = Mark>) {
        self.acknowledged.lock().unwrap().extend(marks);
    }

    pub(crate) fn acknowledged(&self) -> BTreeSet<Mark> {
        self.acknowledged.lock().unwrap().clone()
    }

    /// What is wrong with what somebody of the tenant showed in the end.
    pub(crate) fn judge(&self, seen: &Seen) -> Vec<String> {
        let acknowledged = self.acknowledged();
        let lost = acknowledged.iter().filter(|mark| !seen.holds(**mark)).copied();
        let foreign = seen.0.keys().filter(|mark| mark.tenant != self.tenant).copied();
        let doubled = seen.0.iter().filter(|(_, count)| **count > 1).map(|(mark, _)| *mark);
        let all: [(&str, Vec<Mark>); 3] = [
            ("lost", lost.collect()),
            ("shows what is another tenant's", foreign.collect()),
            ("shows twice", doubled.collect()),
        ];
        let all = all.into_iter().filter(|(_, marks)| !marks.is_empty());
        all.map(|(what, marks)| format!("{what} {} of {}", some_of(&marks), seen.count())).collect()
    }
}

fn some_of(marks: &[Mark]) -> String {
    let first: Vec<String> = marks.iter().take(TOLD_MAX).map(|mark| mark.text()).collect();
    format!("{} ({})", marks.len(), first.join(", "))
}
