//! What was found wrong with this home, in words for the people who use it.

use std::collections::BTreeMap;

use fieldmesh_model::schema::Collection;
use fieldmesh_model::{DeviceId, Moment, Value};
use fieldmesh_store::ViewCondition;

use crate::api::{DoctorReport, Finding, Record};
use crate::backup::restore::RESTORED_MIN;
use crate::clock::minute;
use crate::entry::Fact;
use crate::error::Error;
use crate::harm::{Harm, Harmed, LostChange, Outcome};
use crate::rows::RecordRow;

use super::Ledger;
use super::lacking::{LATER, lacking_items, put_off, unread};
use super::names::record_name;
use super::query::Names;

impl Ledger {
    /// Everything that is known to be wrong, or was and is healed; `notes` are what the mesh says.
    pub(crate) fn diagnose(&self, notes: Vec<String>) -> Result<DoctorReport, Error> {
        let remaking = self.settle_partly()?;
        self.mend()?;
        let harms = self.harms()?;
        let mut findings = Vec::new();
        findings.extend(self.lost_changes(&harms));
        findings.extend(self.lacking_batches(&harms)?);
        findings.extend(lacking_items(&harms));
        findings.extend(self.unknown_entries(&harms)?);
        findings.extend(put_off(self.damaged.put_off_count()));
        findings.extend(self.waiting_findings()?);
        findings.extend(self.missed_findings()?);
        findings.extend(self.told_at_open()?);
        findings.extend(self.stuck_view());
        findings.extend(self.full_disk());
        findings.extend(self.own_end().map(of_this_device));
        let is_restored = self.restores()? >= RESTORED_MIN;
        findings.extend(self.runs_twice().map(|note| of_two_homes(note, is_restored)));
        findings.extend(notes.into_iter().map(of_others));
        findings.extend(self.healed(&harms));
        findings.extend(of_no_record(&harms));
        findings.extend(self.how_it_opened());
        findings.extend(self.epochs(&harms)?);
        findings.extend(self.kept_aside());
        findings.extend(self.last_read()?);
        findings.extend(self.purged()?);
        findings.extend(self.schema_findings()?);
        findings.sort_by_key(|finding| !finding.open);
        Ok(DoctorReport {
            open: findings.iter().any(|finding| finding.open),
            checking: self.scrub_progress().map(|progress| progress.percent()),
            remaking,
            findings,
        })
    }

    /// What is damaged, in a few lines.
    pub(crate) fn damage_lines(&self) -> Result<Vec<String>, Error> {
        let unnoted = self.mend().err();
        let mut lines = self.known_damage()?;
        lines.extend(unnoted.map(|error| format!("found damage could not be noted: {error}")));
        let open = self.harms()?.iter().filter(|harm| harm.is_open()).count();
        if open > 0 {
            lines.push(format!("{}; `fieldmesh doctor` says what is missing", unread(open)));
        }
        let later = self.damaged.put_off_count();
        if later > 0 {
            lines.push(format!("{}; {LATER}", unread(later)));
        }
        lines.extend(self.stranded_lines()?);
        Ok(lines)
    }

    /// How many entries are known to be damaged, and are neither healed nor given up.
    pub(crate) fn damaged_count(&self) -> Result<u64, Error> {
        let open = self.harms()?.iter().filter(|harm| harm.is_open()).count();
        Ok((open + self.damaged.put_off_count() + self.known_damage()?.len()) as u64)
    }

    /// Changes that nobody else can bring.
    fn lost_changes(&self, harms: &[Harm]) -> Vec<Finding> {
        let (policy, mut names) = (self.policy(), Names::default());
        let mut findings = Vec::new();
        for harm in harms {
            let Harmed::Change(lost) = &harm.what else { continue };
            // Nobody misses what was purged.
            let is_purged = policy.is_purged(&lost.document);
            if !is_purged && !matches!(harm.outcome, Outcome::Healed { .. }) {
                findings.push(self.lost_change(harm, lost, &mut names));
            }
        }
        findings
    }

    /// A lost change as it was shown last, and what it was in words.
    pub(super) fn lost_words(
        &self,
        lost: &LostChange,
        names: &mut Names,
    ) -> (Option<Record>, String) {
        let schema = self.schema(lost.collection);
        let record =
            lost.shown.clone().map(|shown| self.to_record(lost.document, &schema, shown, names));
        let title = title(&schema, lost, record.as_ref());
        let when = record
            .as_ref()
            .map_or_else(String::new, |record| format!("recorded {}, ", minute(record.updated_at)));
        let values = lost.shown.as_ref().map_or_else(String::new, |shown| {
            let values = shown.fields.iter().filter(|(_, value)| !value.to_cell().is_empty());
            let values: Vec<String> =
                values.map(|(key, value)| format!("{key} {}", value.to_cell())).collect();
            format!(", {}", values.join(", "))
        });
        (record, format!("{when}{title}{values}"))
    }

    fn lost_change(&self, harm: &Harm, lost: &LostChange, names: &mut Names) -> Finding {
        let (record, words) = self.lost_words(lost, names);
        let is_open = harm.is_open();
        let done = match (&harm.outcome, &record) {
            (Outcome::Settled(at), _) => {
                format!("It was given up on {}; what was shown of it is kept here.", minute(*at))
            }
            (_, Some(_)) => "What was shown of it is kept here.".into(),
            (_, None) => "Nothing of it is known but its record.".into(),
        };
        Finding {
            kind: "lost-change".into(),
            open: is_open,
            what: format!("{words}: this change is lost in the log"),
            means:
                "It was not sent to any other device before it was damaged, so nobody can bring \
                    it back."
                    .into(),
            done,
            next: again(&self.schema(lost.collection), lost, is_open),
            record: record.map(Box::new),
        }
    }

    fn healed(&self, harms: &[Harm]) -> Vec<Finding> {
        let mut healed: BTreeMap<Option<DeviceId>, (usize, Moment)> = BTreeMap::new();
        for harm in harms.iter().filter(|harm| harm.what != Harmed::Nothing) {
            if let Outcome::Healed { from, at } = &harm.outcome {
                let (count, last) = healed.entry(*from).or_insert((0, *at));
                *count += 1;
                *last = (*last).max(*at);
            }
        }
        let policy = self.policy();
        let finding = |(from, (count, last)): (Option<DeviceId>, (usize, Moment))| {
            let name = from.map(|device| match policy.known(&device) {
                Some(member) => member.name.clone(),
                None => format!("…{}", device.short()),
            });
            let at = minute(last);
            let done = match name {
                Some(_) if from == Some(self.device) => {
                    format!("This device had them in memory and wrote them again, last on {at}.")
                }
                Some(name) => format!("{name} brought them again, the last on {at}."),
                None => format!("Another copy was here, the last one found on {at}."),
            };
            Finding {
                kind: "healed".into(),
                what: format!("damage in {} of the log", counted(count, "entry", "entries")),
                means: "Nothing of them is missing.".into(),
                done,
                ..Finding::default()
            }
        };
        healed.into_iter().map(finding).collect()
    }

    /// What the last open found, and nobody was told of so far.
    fn told_at_open(&self) -> Result<Vec<Finding>, Error> {
        let finding = |line: String| Finding {
            kind: "damage".into(),
            open: true,
            what: line,
            means: "Entries that were acknowledged may be missing; those that others have come \
                    back by themselves."
                .into(),
            done: "This device began new chains, so that nothing it writes collides with what may \
                   be missing."
                .into(),
            next:
                "Look whether records of yours are missing, then say `fieldmesh doctor --accept`."
                    .into(),
            record: None,
        };
        Ok(self.known_damage()?.into_iter().map(finding).collect())
    }

    fn stuck_view(&self) -> Option<Finding> {
        let fault = self.projector.fault()?;
        Some(Finding {
            kind: "view-stuck".into(),
            open: true,
            what: format!("new entries cannot be made readable: {fault}"),
            means: "They are safe in the log, and lists do not show them.".into(),
            done: "It is tried again with the next entry.".into(),
            next: "Start fieldmesh again; if that does not help, keep the folder and report it."
                .into(),
            record: None,
        })
    }

    fn full_disk(&self) -> Option<Finding> {
        let disk = self.disk().ok().filter(|disk| disk.low || disk.full)?;
        let free = disk.free?;
        let done = match disk.reserve {
            0 => {
                "The reserve was given up, so that fieldmesh opens, hands over and closes in order."
            }
            _ => "A reserve is kept so that fieldmesh can close in order.",
        };
        Some(Finding {
            kind: "disk-low".into(),
            open: true,
            what: format!("the disk has {} MiB left", free / (1024 * 1024)),
            means: "Below 32 MiB nothing more can be recorded; reading goes on.".into(),
            done: done.into(),
            next: match disk.may_free {
                true => "Free some room on this disk, or let old months go with `fieldmesh evict`.",
                false => "Free some room on this disk.",
            }
            .into(),
            record: None,
        })
    }

    /// How the last open found the store, as far as nothing is lost by it.
    fn how_it_opened(&self) -> Vec<Finding> {
        let report = self.store.report();
        let mut findings = Vec::new();
        if !report.was_closed && self.seen != Default::default() {
            findings.push(Finding {
                kind: "unclean-stop".into(),
                what: "the last run was not ended in order: power loss, a crash or a kill".into(),
                means: "Whatever was acknowledged is on the disk.".into(),
                done: "Everything that is stored is read and checked in the background.".into(),
                ..Finding::default()
            });
        }
        if let Some(tail) = &report.torn_tail {
            let kept = tail.kept_as.as_deref().unwrap_or("the log itself");
            findings.push(Finding {
                kind: "torn-tail".into(),
                what: format!("the last {} bytes of the log could not be read", tail.length),
                means: "They were being written when the last run ended, or were damaged since."
                    .into(),
                done: format!("They are kept in {kept}."),
                ..Finding::default()
            });
        }
        let why = match report.view {
            ViewCondition::Kept => None,
            ViewCondition::Created if !self.store.view_was_rebuilt() => None,
            ViewCondition::Created => Some("was gone"),
            ViewCondition::Damaged => Some("was damaged"),
            ViewCondition::Foreign => Some("belonged to another store"),
            ViewCondition::EarlierVersion => Some("was written by an earlier version"),
            ViewCondition::AheadOfLog => {
                findings.push(Finding {
                    kind: "log-behind".into(),
                    what: "the log ends before what records were made from".into(),
                    means: "A part of the log is gone or was put back from an older copy.".into(),
                    done: "Records are kept as they were shown; what is missing is asked for."
                        .into(),
                    ..Finding::default()
                });
                None
            }
            _ => Some("could not be used"),
        };
        findings.extend(why.map(|why| Finding {
            kind: "view-rebuilt".into(),
            what: format!("the view, from which lists are read, {why}"),
            means: "It holds nothing that the log does not hold.".into(),
            done: "It was made again from the log.".into(),
            ..Finding::default()
        }));
        findings
    }

    /// That what this store had confirmed is void. Letting records go voids it too and is nothing
    /// that anybody has to be told.
    fn epochs(&self, harms: &[Harm]) -> Result<Option<Finding>, Error> {
        let count = self.restores()?;
        let is_restored = count >= RESTORED_MIN;
        if !is_restored && (count == 0 || (self.has_let_go()? && !self.has_lost(harms)?)) {
            return Ok(None);
        }
        let what = match is_restored {
            true => "this home was made of a backup, or of what was left of its log",
            false => "at least once something that was stored here could not be read any more",
        };
        Ok(Some(Finding {
            kind: "epochs".into(),
            what: what.into(),
            means:
                "Whether anything is missing of it is said apart. What this store had confirmed to \
                    others before does not count as a copy any more."
                    .into(),
            done: "It confirms anew what it holds: to others what they wrote, as soon as it meets \
                   them; what it holds of third parties may stay unconfirmed."
                .into(),
            ..Finding::default()
        }))
    }

    /// Whether damage was ever found by which something was lost that had been confirmed.
    fn has_lost(&self, harms: &[Harm]) -> Result<bool, Error> {
        let is_batch = |harm: &Harm| matches!(harm.what, Harmed::Batch { .. });
        let found_at_open = self.recall(&Fact::Damage([0; 16]))?.is_some();
        Ok(found_at_open || harms.iter().any(is_batch))
    }

    /// What was purged, which is no damage although it is missing.
    fn purged(&self) -> Result<Option<Finding>, Error> {
        let policy = self.policy();
        let count = policy.purged_documents().count();
        if count == 0 {
            return Ok(None);
        }
        let note = match self.sweep_note()? {
            None => self.note_of_left(&policy)?,
            note => note,
        };
        let done = match note {
            Some(note) => format!("Not all of it is erased here: {note}."),
            None => {
                "Nothing of it is left in what this home can read. Backups made before keep it."
                    .into()
            }
        };
        let what = match count {
            1 => "1 record was purged by an admin".to_owned(),
            _ => format!("{count} records were purged by an admin"),
        };
        Ok(Some(Finding {
            kind: "purged".into(),
            what,
            means: "What was purged is meant to be missing, and nobody is asked for it.".into(),
            done,
            next: "`fieldmesh purge --list` says which, by whom and why.".into(),
            ..Finding::default()
        }))
    }

    /// When all that is stored was checked last: damage that nobody has come across is found then.
    fn last_read(&self) -> Result<Option<Finding>, Error> {
        let finished = self.scrub_state()?.finished;
        Ok(finished.map(|at| Finding {
            kind: "last-read".into(),
            what: format!(
                "the last check of all that is stored ended on {}, or this home began then",
                minute(at)
            ),
            means: "Damage since then is in this list only where it was come across.".into(),
            done: "It is checked once a month, and after a stop that was not in order.".into(),
            next: "`fieldmesh verify` reads it now.".into(),
            ..Finding::default()
        }))
    }

    fn kept_aside(&self) -> Option<Finding> {
        let bytes = self.store.disk_usage().ok()?.quarantine_bytes;
        (bytes > 0).then(|| Finding {
            kind: "quarantine".into(),
            what: format!("{} KiB of damaged files are kept aside", bytes.div_ceil(1024)),
            means: "They are encrypted like everything else and nothing needs them.".into(),
            done: "They lie in the folder `quarantine` of the store.".into(),
            next: "Once nothing is open here, the folder may be deleted.".into(),
            ..Finding::default()
        })
    }
}

/// Damage by which no record has lost anything.
fn of_no_record(harms: &[Harm]) -> Option<Finding> {
    let count = harms.iter().filter(|harm| harm.is_needless()).count();
    (count > 0).then(|| Finding {
        kind: "needless-entries".into(),
        what: format!("damage in {} of the log", counted(count, "entry", "entries")),
        means: "No record needs them: what this device notes for itself lay there.".into(),
        done: "Drafts and what apps had noted, what was taken back of them, and what this device \
               knew of others were written once more."
            .into(),
        next: "`fieldmesh doctor --accept` takes this off the list.".into(),
        ..Finding::default()
    })
}

fn of_this_device(note: String) -> Finding {
    Finding {
        kind: "this-device".into(),
        open: true,
        what: note,
        means: "Others do not take what this device writes.".into(),
        next: "Ask the lead of the crew.".into(),
        ..Finding::default()
    }
}

/// Another home signs with this device's key. One that was made of a backup writes apart from the
/// one it was made of, so all of both counts.
fn of_two_homes(note: String, is_restored: bool) -> Finding {
    let (means, next) = match is_restored {
        true => (
            "This home was made of a backup, or of what was left of its log, and writes apart \
             from what was before: others take what either records.",
            "",
        ),
        false => (
            "Where both homes wrote the same part of a record, others take one of the two and \
             keep the other aside.",
            "Use one of the two only. If the other one was made of a backup, nothing is to be \
             done.",
        ),
    };
    Finding {
        kind: "runs-twice".into(),
        open: !is_restored,
        what: note,
        means: means.into(),
        next: next.into(),
        ..Finding::default()
    }
}

fn of_others(note: String) -> Finding {
    Finding { kind: "note".into(), what: note, ..Finding::default() }
}

/// What to call the record of a lost change.
fn title(schema: &Collection, lost: &LostChange, record: Option<&Record>) -> String {
    let own = lost.shown.as_ref().and_then(|shown| title_by_name(schema, shown));
    match (own, record) {
        (Some(title), _) => title,
        (None, Some(record)) => of_record(record),
        (None, None) => format!("{} {}", schema.name, lost.document.short()),
    }
}

/// What to call a record that has a name.
pub(super) fn title_by_name(schema: &Collection, record: &RecordRow) -> Option<String> {
    record_name(schema, record).map(|name| format!("{} {name}", schema.name))
}

/// What to call a record that has no name: by what it refers to.
pub(super) fn of_record(record: &Record) -> String {
    let name = record.names.values().find_map(|name| name.as_str());
    match name {
        Some(name) => format!("{} of {name}", record.collection),
        None => format!("{} {}", record.collection, record.id.short()),
    }
}

/// How to record a lost change once more.
pub(super) fn again(schema: &Collection, lost: &LostChange, is_open: bool) -> String {
    let accept = if is_open { "Say `fieldmesh doctor --accept`, then " } else { "" };
    let Some(shown) = &lost.shown else {
        return format!("{accept}record it again if you know what it was.");
    };
    let is_set = |(_, value): &(&String, &Value)| !value.to_cell().is_empty();
    let fields = assignments(shown.fields.iter().filter(is_set));
    let command = match lost.is_whole {
        true => format!("fieldmesh record {} {}", schema.name, fields.join(" ")),
        false => format!("fieldmesh edit {} {}", lost.document, fields.join(" ")),
    };
    format!("{accept}record it again with: {command}")
}

/// Values as they are typed in a shell.
pub(super) fn assignments<'a>(
    fields: impl Iterator<Item = (&'a String, &'a Value)>,
) -> Vec<String> {
    let assign = |(key, value): (&String, &Value)| {
        let text = format!("{key}={}", value.to_cell());
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "=._-:+/".contains(c);
        let quoted = || format!("'{}'", text.replace('\'', "'\\''"));
        if text.chars().all(is_plain) { text.clone() } else { quoted() }
    };
    fields.map(assign).collect()
}

pub(super) fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
