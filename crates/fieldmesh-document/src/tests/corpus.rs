//! A corpus of hostile changes: every replica gives each of them the same verdict, in whatever
//! order they arrive and on however many threads, and every document stays loadable.
//!
//! Ordinary runs take a part of the corpus; `FIELDMESH_CORPUS=24000` takes that many changes.

use std::collections::{BTreeMap, BTreeSet};

use automerge::Automerge;

use super::hostile::Numbers;
use super::*;
use crate::gate::{Excluded, Refusal, Rival, select};
use crate::peek;

mod faults;
mod make;

use make::{Filed, Kind};

/// The mutated changes of an ordinary run.
const CORPUS_SIZE: usize = 3_000;
/// The mutated changes of one document.
const SHARE: usize = 250;
/// Replicas that judge the same changes, each in an order of its own.
const REPLICAS: u64 = 3;

/// What a replica makes of the changes of one document.
#[derive(Debug, PartialEq)]
struct Settled {
    verdicts: Vec<String>,
    heads: [u8; 32],
    record: String,
}

struct Desk<'a> {
    filed: &'a [Filed],
    verdicts: Vec<String>,
    accepted: BTreeMap<[u8; 32], usize>,
    waiting: Vec<usize>,
}

impl<'a> Desk<'a> {
    fn new(filed: &'a [Filed]) -> Self {
        let verdicts = vec![String::new(); filed.len()];
        Self { filed, verdicts, accepted: BTreeMap::new(), waiting: Vec::new() }
    }

    fn arrive(&mut self, index: usize) {
        let mut open = vec![index];
        while let Some(index) = open.pop() {
            match self.judge(index) {
                Ok(hash) => {
                    self.verdicts[index] = "accepted".to_owned();
                    if self.accepted.insert(hash, index).is_none() {
                        open.append(&mut self.waiting);
                    }
                }
                Err(refusal) if refusal.is_final() => self.verdicts[index] = refusal.to_string(),
                Err(_) => {
                    self.verdicts[index] = "waits".to_owned();
                    self.waiting.push(index);
                }
            }
        }
    }

    fn judge(&self, index: usize) -> Result<[u8; 32], Refusal> {
        let Filed { origin, change, .. } = &self.filed[index];
        let closure = match peek(change) {
            Ok(peeked) => self.reach(&peeked.deps),
            Err(_) => Vec::new(),
        };
        let accepted = judge(change, &closure, origin)?;
        Ok(accepted.change.hash)
    }

    fn reach(&self, deps: &[[u8; 32]]) -> Vec<&'a [u8]> {
        let mut reached = BTreeMap::new();
        let mut open = deps.to_vec();
        while let Some(hash) = open.pop() {
            if let Some(index) = self.accepted.get(&hash)
                && !reached.contains_key(&hash)
            {
                let change = self.filed[*index].change.as_slice();
                reached.insert(hash, change);
                open.extend(peek(change).unwrap().deps);
            }
        }
        reached.into_values().collect()
    }

    /// Leaves out what lost against a change with the same number and reads what remains.
    fn settle(mut self) -> Settled {
        let peeked = |index: &usize| peek(&self.filed[*index].change).unwrap();
        let accepted: Vec<_> = self.accepted.values().copied().collect();
        let changes: Vec<_> = accepted.iter().map(peeked).collect();
        let rivals: Vec<_> = accepted
            .iter()
            .zip(&changes)
            .map(|(index, change)| Rival {
                change,
                author: self.filed[*index].origin.author,
                is_pinned: false,
            })
            .collect();
        let excluded = select(&rivals);
        for (index, filed) in self.filed.iter().enumerate() {
            let Ok(peeked) = peek(&filed.change) else { continue };
            if self.verdicts[index] == "accepted" {
                match excluded.get(&peeked.hash) {
                    Some(Excluded::Equivocation) => self.verdicts[index] = "lost".to_owned(),
                    Some(Excluded::Dependent) => self.verdicts[index] = "built on a loser".into(),
                    None => {}
                }
            }
        }
        let counting = self.accepted.iter().filter(|(hash, _)| !excluded.contains_key(*hash));
        let counting: Vec<_> =
            counting.map(|(_, index)| self.filed[*index].change.as_slice()).collect();
        let document = Document::load(self.filed[0].origin.document, counting).unwrap();
        assert_lasting(&document);
        let conflicts = document.conflicts(entries()).unwrap();
        let history = document.history(entries()).unwrap();
        let view = document.view(entries()).unwrap();
        let record = format!("{view:?} {conflicts:?} {history:?}");
        Settled { verdicts: self.verdicts, heads: document.heads_digest(), record }
    }
}

/// A document saves, loads and reads again.
fn assert_lasting(document: &Document) {
    let loaded = Automerge::load(&document.inner().save()).unwrap();
    assert_eq!(loaded.get_heads(), document.inner().get_heads());
    assert_eq!(loaded.hydrate(None), document.inner().hydrate(None));
}

fn settle(filed: &[Filed], replica: u64) -> Settled {
    let mut order: Vec<usize> = (0..filed.len()).collect();
    let mut numbers = Numbers(0x51a2_e7f3 + replica);
    // The first replica gets the changes as they were made.
    for place in (1..order.len()).rev().filter(|_| replica > 0) {
        order.swap(place, numbers.below(place + 1));
    }
    let mut desk = Desk::new(filed);
    order.into_iter().for_each(|index| desk.arrive(index));
    desk.settle()
}

#[allow(clippy::disallowed_methods, reason = "a person asks for more than an ordinary run")]
fn size() -> usize {
    std::env::var("FIELDMESH_CORPUS").ok().and_then(|size| size.parse().ok()).unwrap_or(CORPUS_SIZE)
}

#[test]
fn hostile_changes_get_the_same_verdict_everywhere_and_no_document_is_lost() {
    let size = size();
    let documents: Vec<Vec<Filed>> =
        (0..size.div_ceil(SHARE)).map(|number| make::document(number, SHARE)).collect();
    let alone: Vec<Settled> = documents.iter().map(|filed| settle(filed, 0)).collect();
    for replica in 0..REPLICAS {
        assert_eq!(alone, on_a_pool(&documents, replica), "replica {replica} sees it otherwise");
    }
    report(&documents, &alone);
}

/// Every document on whichever of a few threads is free.
fn on_a_pool(documents: &[Vec<Filed>], replica: u64) -> Vec<Settled> {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let worker = || {
        let mut done = Vec::new();
        loop {
            let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let Some(filed) = documents.get(number) else { return done };
            done.push((number, settle(filed, replica)));
        }
    };
    let done: BTreeMap<usize, Settled> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    done.into_values().collect()
}

/// Says what became of what; every kind of change is there, and the honest ones all count.
fn report(documents: &[Vec<Filed>], settled: &[Settled]) {
    let mut counts: BTreeMap<(Kind, String), usize> = BTreeMap::new();
    for (filed, settled) in documents.iter().zip(settled) {
        for (filed, verdict) in filed.iter().zip(&settled.verdicts) {
            // What the verdict says, without the numbers in it.
            let words = verdict.split(' ').filter(|word| !word.contains(char::is_numeric));
            let verdict = words.collect::<Vec<_>>().join(" ");
            *counts.entry((filed.kind, verdict)).or_default() += 1;
        }
    }
    for ((kind, verdict), count) in &counts {
        println!("{count:>7} {kind:?}: {verdict}");
    }
    let kinds: BTreeSet<Kind> = counts.keys().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, Kind::ALL.into_iter().collect());
    for ((kind, verdict), _) in counts {
        match kind {
            // An honest change may lose its place to a fork with a smaller hash, never its right.
            Kind::Honest => {
                let right = ["accepted", "lost", "built on a loser"];
                assert!(right.contains(&verdict.as_str()), "{verdict}");
            }
            Kind::Oversized | Kind::Bomb | Kind::Truncated | Kind::Endless | Kind::Copied => {
                assert_ne!(verdict, "accepted", "{kind:?}");
            }
            Kind::WrongActor => assert_ne!(verdict, "accepted"),
            Kind::Orphan => assert_ne!(verdict, "accepted"),
            Kind::Flipped | Kind::Rearranged | Kind::Equivocal | Kind::Numbered | Kind::BuiltOn => {
            }
        }
    }
}
