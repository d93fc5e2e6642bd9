//! What to say to people of an operation that was not stored, and of outcomes that do not fit.

use fieldmesh_model::Fault;

use crate::outcome::Reason;
use crate::refusal::Refusal;

/// What a dialect calls the records that its fields refer to: field, and noun for people.
pub(crate) type Nouns<'a> = &'a [(&'a str, &'a str)];

impl Reason {
    /// One sentence for people who know no contract.
    pub fn sentence(&self) -> String {
        self.text(&[])
    }

    /// One sentence.
    pub(crate) fn text(&self, nouns: Nouns<'_>) -> String {
        match self {
            Self::Invalid { faults } => {
                faults.iter().map(|fault| fault.message.as_str()).collect::<Vec<_>>().join("; ")
            }
            Self::NoReference { key } => format!("{} not found", noun(nouns, key)),
            Self::IncompleteReference { key, lacks } => {
                format!("{} has no {lacks}", noun(nouns, key))
            }
            Self::NoRecord => "Record not found".to_owned(),
            Self::Stale { version } => format!("Record is at version {version}"),
            Self::Forbidden { why } => why.clone(),
            Self::Damaged => "Checksum does not match; send it again".to_owned(),
            Self::Failed => "Could not be stored; send it again".to_owned(),
        }
    }

    /// The faults of single fields, for answers that list those.
    pub(crate) fn faults(&self, nouns: Nouns<'_>) -> Vec<Fault> {
        match self {
            Self::Invalid { faults } => faults.clone(),
            Self::NoReference { key } | Self::IncompleteReference { key, .. } => {
                vec![Fault::new(key.clone(), self.text(nouns))]
            }
            Self::NoRecord
            | Self::Stale { .. }
            | Self::Forbidden { .. }
            | Self::Damaged
            | Self::Failed => vec![Fault::new("", self.text(nouns))],
        }
    }

    /// The refusal of a request that had nothing but this.
    pub(crate) fn refusal(&self, nouns: Nouns<'_>) -> Refusal {
        match self {
            Self::Invalid { .. } | Self::IncompleteReference { .. } | Self::Damaged => {
                Refusal::Invalid { faults: self.faults(nouns) }
            }
            Self::NoReference { key } => Refusal::missing(noun(nouns, key)),
            Self::NoRecord => Refusal::missing("Record"),
            Self::Stale { .. } => Refusal::Contradiction { why: self.text(nouns) },
            Self::Forbidden { why } => Refusal::Forbidden { why: why.clone() },
            Self::Failed => Refusal::Failed,
        }
    }
}

fn noun<'a>(nouns: Nouns<'a>, key: &'a str) -> &'a str {
    nouns.iter().find(|(known, _)| *known == key).map_or(key, |(_, noun)| noun)
}

/// Puts faults of the element `index` below its place in the list `list`.
pub(crate) fn below(list: &str, index: usize, faults: Vec<Fault>) -> impl Iterator<Item = Fault> {
    let place = format!("{list}[{index}]");
    faults.into_iter().map(move |fault| match fault.field.is_empty() {
        true => Fault::new(place.clone(), fault.message),
        false => Fault::new(format!("{place}.{}", fault.field), fault.message),
    })
}

/// What a server says that gives an outcome of another command: its own mistake.
pub(crate) const MISFIT: Refusal = Refusal::Failed;
