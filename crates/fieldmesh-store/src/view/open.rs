//! Decides whether the rows found are this store's view or must be set aside.

use std::ops::Bound;

use fieldmesh_model::StoreId;

use super::filter::Filter;
use super::opened::OpenView;
use super::rows::{RowBatch, Rows, RowsError, RowsSource};
use super::seal::{self, Owner, Sealer, VIEW_VERSION};
use super::tally::{self, Tally};
use super::{Direction, ViewCondition, ViewError};
use crate::keys::DataKeys;
use crate::log::Place;
use crate::random;

/// What an opened view is checked against.
pub(crate) struct Belonging<'a> {
    pub(crate) keys: &'a DataKeys,
    pub(crate) store: StoreId,
    pub(crate) log_end: Option<Place>,
    /// The build that was closed in order; any other is verified row by row.
    pub(crate) trusted_build: Option<[u8; 16]>,
}

/// The version of a view that a newer program wrote; `None` for every other.
///
/// Whatever else changes, a head begins with its version.
pub(crate) fn newer_version(rows: &dyn Rows) -> Option<u8> {
    let head = rows.get(seal::HEAD_KEY).ok()??;
    head.first().copied().filter(|version| *version > VIEW_VERSION)
}

/// Opens what is there, or sets it aside and begins anew.
pub(crate) fn open_or_rebuild(
    source: &dyn RowsSource,
    found: Result<Box<dyn Rows>, RowsError>,
    belonging: &Belonging<'_>,
) -> Result<(OpenView, ViewCondition), ViewError> {
    let condition = match open_existing(found, belonging) {
        Ok(opened) => return Ok(opened),
        Err(Unusable::Set(condition)) => condition,
        Err(Unusable::Failed(error)) => return Err(error),
    };
    tracing::warn!(?condition, "view set aside, a new one begins");
    match condition {
        // Nothing is wrong with it, and it may be large.
        ViewCondition::EarlierVersion => source.discard()?,
        _ => source.set_aside()?,
    }
    let rows = source.open()?;
    Ok((create(rows, belonging)?, condition))
}

/// Why a view is not opened as it is.
enum Unusable {
    /// It is no good: set it aside.
    Set(ViewCondition),
    /// Something else is wrong; the view may be good.
    Failed(ViewError),
}

impl From<ViewError> for Unusable {
    fn from(error: ViewError) -> Self {
        match error {
            ViewError::Damaged => Self::Set(ViewCondition::Damaged),
            ViewError::Rows(error) if error.is_damage() => Self::Set(ViewCondition::Damaged),
            error => Self::Failed(error),
        }
    }
}

impl From<RowsError> for Unusable {
    fn from(error: RowsError) -> Self {
        ViewError::Rows(error).into()
    }
}

fn open_existing(
    found: Result<Box<dyn Rows>, RowsError>,
    belonging: &Belonging<'_>,
) -> Result<(OpenView, ViewCondition), Unusable> {
    let rows = found?;
    let Some(head) = rows.get(seal::HEAD_KEY)? else {
        let everything = (Bound::Unbounded, Bound::Unbounded);
        if !rows.scan(&everything, Direction::Ascending, 1)?.is_empty() {
            return Err(Unusable::Set(ViewCondition::Damaged));
        }
        return Ok((create(rows, belonging)?, ViewCondition::Created));
    };
    let build = match Owner::of(&head, belonging.store) {
        Owner::This(build) => build,
        Owner::Another => return Err(Unusable::Set(ViewCondition::Foreign)),
        Owner::Earlier => return Err(Unusable::Set(ViewCondition::EarlierVersion)),
        Owner::Later(version) => return Err(Unusable::Failed(ViewError::NewerVersion { version })),
    };
    let keys = std::iter::once(belonging.keys.current()).chain(belonging.keys.before());
    let sealed_tally = rows.get(tally::KEY)?;
    let opened = sealed_tally.and_then(|sealed| {
        let mut sealers = keys.map(|key| Sealer::new(key, build));
        sealers.find_map(|sealer| Some((Tally::decode(&sealer, sealed.clone())?, sealer)))
    });
    let Some((tally, sealer)) = opened else {
        return Err(Unusable::Set(ViewCondition::Foreign));
    };
    let is_ahead = tally.applied > belonging.log_end;
    let open = OpenView::read(rows, sealer, tally)?;
    if belonging.trusted_build != Some(build) {
        open.verify()?;
    }
    Ok((open, if is_ahead { ViewCondition::AheadOfLog } else { ViewCondition::Kept }))
}

fn create(rows: Box<dyn Rows>, belonging: &Belonging<'_>) -> Result<OpenView, ViewError> {
    let build = random::bytes()?;
    let sealer = Sealer::new(belonging.keys.current(), build);
    let tally = Tally::default();
    let mut batch = RowBatch::new();
    batch.insert(seal::HEAD_KEY.to_vec(), Some(seal::head(belonging.store, build)));
    batch.insert(tally::KEY.to_vec(), Some(tally.encode(&sealer)?));
    rows.write(batch)?;
    rows.flush()?;
    let mut view = OpenView::read(rows, sealer, tally)?;
    view.filter = Some(Filter::new());
    Ok(view)
}
