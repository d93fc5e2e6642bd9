//! Reports as people read them: pure functions from a report to text.

mod approval;
mod backup;
mod bulk;
mod conflict;
mod connectivity;
mod disk;
mod doctor;
mod draft;
mod evict;
mod history;
mod home;
mod import;
mod notice;
mod peer;
mod purge;
mod record;
mod relay;
mod schema;
mod settled;
mod table;
mod tenant;

pub(crate) use fieldmesh::api::one_line;
use fieldmesh_model::Moment;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value as Json;

pub(crate) use approval::approval_question;
pub(crate) use backup::{backed_up, checked_backup, restored};
pub(crate) use bulk::{bulk, bulk_question, bulk_summary};
pub(crate) use conflict::{conflict, conflicts};
pub(crate) use connectivity::{connectivity, synced_now};
pub(crate) use disk::compact;
pub(crate) use doctor::doctor;
pub(crate) use draft::{draft, draft_gone, drafts};
pub(crate) use evict::{begins_at, evict_question, evicted, kept};
pub(crate) use history::history;
pub(crate) use home::{ready, rekey, status, verify};
pub(crate) use import::{imported, refused_row};
pub(crate) use notice::notices;
pub(crate) use peer::{adopted, device, devices, peers, revoked, synced};
pub(crate) use purge::{purge_question, purged, purges};
pub(crate) use record::{not_all, record, records};
pub(crate) use relay::{GATEWAY_QUESTION, relay_removed, relays, relays_added};
pub(crate) use schema::{schema, schema_file, schemas};
pub(crate) use settled::{settled, settled_question, settled_summary};
pub(crate) use tenant::{invitation_advice, invitation_text, joined, qr, tenant};

/// How text is laid out and what its times mean.
#[derive(Debug, Clone)]
pub(crate) struct Style {
    /// How many characters fit on a line.
    pub(crate) width: usize,
    /// Whether tones become colours.
    pub(crate) paint: Paint,
    /// The zone of the reader.
    pub(crate) zone: TimeZone,
}

/// Whether tones become colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paint {
    /// Plain text.
    None,
    /// ANSI colours.
    Colours,
}

/// What a piece of text is to its reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Ordinary.
    Plain,
    /// A heading.
    Heading,
    /// Of less interest.
    Quiet,
    /// As it should be.
    Good,
    /// Worth a look.
    Doubtful,
    /// Wrong.
    Bad,
}

impl Style {
    /// `text` in a tone.
    pub(crate) fn paint(&self, tone: Tone, text: &str) -> String {
        let code = match (self.paint, tone) {
            (Paint::None, _) | (_, Tone::Plain) => return text.into(),
            (Paint::Colours, Tone::Heading) => "1",
            (Paint::Colours, Tone::Quiet) => "2",
            (Paint::Colours, Tone::Good) => "32",
            (Paint::Colours, Tone::Doubtful) => "33",
            (Paint::Colours, Tone::Bad) => "31",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }

    /// A moment by the reader's clock, to the minute.
    fn time(&self, moment: Moment) -> String {
        match Timestamp::from_millisecond(moment.as_millis()) {
            Ok(at) => at.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M").to_string(),
            Err(_) => moment.to_string(),
        }
    }

    fn time_or(&self, moment: Option<Moment>, otherwise: &str) -> String {
        moment.map_or_else(|| otherwise.into(), |moment| self.time(moment))
    }

    /// A value of a field.
    fn value(&self, value: &Json) -> String {
        match value {
            Json::Null => "—".into(),
            Json::String(text) => match written_moment(text) {
                Some(moment) => self.time(moment),
                None => one_line(text),
            },
            Json::Array(items) => {
                let items: Vec<String> = items.iter().map(|item| self.value(item)).collect();
                items.join(", ")
            }
            Json::Bool(_) | Json::Number(_) | Json::Object(_) => value.to_string(),
        }
    }
}

/// Lines of names and what belongs to them, the latter aligned.
fn pairs(pairs: &[(&str, String)], indent: usize, style: &Style) -> String {
    let width = pairs.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for (name, value) in pairs {
        let padding = " ".repeat(width - name.chars().count());
        let name = style.paint(Tone::Quiet, name);
        text.push_str(&format!("{:indent$}{name}{padding}  {value}\n", ""));
    }
    text
}

/// Exactly the form in which moments are written, so that no other text is taken for one.
fn written_moment(text: &str) -> Option<Moment> {
    let moment: Moment = text.parse().ok()?;
    (moment.to_string() == text).then_some(moment)
}

/// A field as people type it: `oilVolume` for `data.oilVolume`.
fn short_field(field: &str) -> &str {
    field.strip_prefix("data.").unwrap_or(field)
}

/// `1 record`, `2 records`, `12,036 records`.
pub(crate) fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", thousands(count), if count == 1 { one } else { many })
}

/// A number with commas.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of bytes in a unit that suits it.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if count < 1_024 {
        return format!("{count} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "one digit behind the point is shown")]
    let mut amount = count as f64 / 1_024.0;
    let mut unit = UNITS[0];
    for larger in &UNITS[1..] {
        if amount < 1_023.95 {
            break;
        }
        amount /= 1_024.0;
        unit = larger;
    }
    format!("{amount:.1} {unit}")
}

#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
