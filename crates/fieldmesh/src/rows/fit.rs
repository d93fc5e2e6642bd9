//! Makes a record fit its row, by rules that depend on nothing but the record.
//!
//! An honest record has at most a quarter of the room. Whoever writes more is not refused, because
//! others may have built on it; what is too long to show is said in its place.

use fieldmesh_model::{Fields, Value};

use super::{ConflictMark, RecordRow};

/// The largest record that is shown, as its row.
const RECORD_ROW_MAX: usize = 1024 * 1024;
/// Of that, the room for what is no field.
const MARKS_SIZE_MAX: usize = RECORD_ROW_MAX / 4;
/// The room for fields; the rest holds what every record has.
const FIELDS_SIZE_MAX: usize = RECORD_ROW_MAX / 2;

/// Leaves out of `row` what is too long to show.
pub(super) fn fit(row: &mut RecordRow) {
    if super::encode(row).len() <= RECORD_ROW_MAX {
        return;
    }
    fit_fields(&mut row.fields);
    fit_marks(&mut row.conflicts);
}

/// Replaces the largest values by their sizes, then leaves out fields from the last on.
fn fit_fields(fields: &mut Fields) {
    let mut sizes: Vec<(usize, String)> =
        fields.iter().map(|field| (super::encode(&field).len(), field.0.clone())).collect();
    let mut total: usize = sizes.iter().map(|(size, _)| size).sum();
    sizes.sort();
    while total > FIELDS_SIZE_MAX {
        let Some((size, key)) = sizes.pop() else { break };
        let shown = Value::Text(format!("({size} bytes, too long to show)"));
        let shown_size = super::encode(&(&key, &shown)).len();
        if shown_size >= size {
            break;
        }
        total -= size - shown_size;
        fields.insert(key, shown);
    }
    while total > FIELDS_SIZE_MAX {
        let Some(last) = fields.pop_last() else { break };
        total -= super::encode(&last).len().min(total);
    }
}

fn fit_marks(marks: &mut Vec<ConflictMark>) {
    let mut left = MARKS_SIZE_MAX;
    marks.retain(|mark| {
        let size = super::encode(mark).len();
        let fits = size <= left;
        left -= if fits { size } else { left };
        fits
    });
}

#[cfg(test)]
mod tests {
    use fieldmesh_model::{DeviceId, Moment, UserId};

    use super::*;

    fn row(fields: Fields, conflicts: Vec<ConflictMark>) -> RecordRow {
        RecordRow {
            fields,
            created_by: UserId::default(),
            created_at: Moment::ZERO,
            updated_at: Moment::ZERO,
            device: DeviceId::default(),
            deleted: false,
            conflicts,
            name: Value::Null,
            made_for: None,
            approval: None,
        }
    }

    #[test]
    fn a_record_that_somebody_blew_up_still_shows_the_rest() {
        let text = |length: usize| Value::Text("x".repeat(length));
        let fields = [("name", text(10)), ("notes", text(2_000_000)), ("zone", text(300_000))];
        let mut one = row(fields.map(|(key, value)| (key.to_owned(), value)).into(), Vec::new());
        fit(&mut one);
        assert_eq!(one.fields["name"], text(10));
        assert_eq!(one.fields["zone"], text(300_000));
        assert!(matches!(&one.fields["notes"], Value::Text(text) if text.contains("2000")));
    }

    #[test]
    fn no_record_is_too_large_for_its_row() {
        let fields = (0..100_000).map(|number| (format!("field {number:06}"), Value::Int(1)));
        let mark = |number: usize| ConflictMark { id: format!("{number:064}"), open: true };
        let mut one = row(fields.collect(), (0..100_000).map(mark).collect());
        fit(&mut one);
        assert!(super::super::encode(&one).len() <= RECORD_ROW_MAX);
        assert!(one.fields.len() > 20_000 && one.conflicts.len() > 3_000);
    }
}
