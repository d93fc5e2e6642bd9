//! A question that is put together step by step.

use std::marker::PhantomData;

use fieldmesh_model::{Moment, Value};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::{BulkEdit, BulkReport, Edits, ListQuery, Page};
use crate::error::Error;
use crate::{BulkPreview, LiveQuery, Node};

use super::{Typed, typed};

/// A question about the records of one collection: newest first unless it says otherwise.
///
/// Fields are named as on the command line, `oilVolume` or `data.oilVolume`. An equality is
/// answered by an index where the field has one: names, references, unique fields and those that
/// the schema declares. What lies above or below a value is looked for among what the other
/// conditions leave, so bound it by a site or by time.
///
/// # Examples
///
/// ```
/// # let runtime = tokio::runtime::Runtime::new().unwrap();
/// # runtime.block_on(async {
/// # use fieldmesh::{Node, TenantOptions};
/// # use serde_json::json;
/// # let folder = tempfile::tempdir().unwrap();
/// # let builder = Node::builder(folder.path().join("home")).passphrase("correct horse");
/// # let crew = TenantOptions { name: "Cedar Creek".into(), ..TenantOptions::default() };
/// # let (node, _) = builder.create_tenant(crew).await.unwrap();
/// # let well = json!({"name": "Alder 1", "apiNumber": "42-227-30001", "status": "ACTIVE"});
/// # node.collection("well").insert(well.as_object().unwrap()).await.unwrap();
/// let entries = node.collection("field_entry");
/// for volume in [82.5, 79.0, 91.25] {
///     let data = json!({"oilVolume": volume, "runtime": 24});
///     let entry = json!({"wellId": "Alder 1", "entryType": "PRODUCTION", "data": data});
///     entries.insert(entry.as_object().unwrap()).await.unwrap();
/// }
///
/// let good = entries.query().site("Alder 1").above("oilVolume", 80).sort_down("oilVolume");
/// let page = good.clone().limit(1).page().await.unwrap();
/// assert_eq!(page.records[0].value["data"]["oilVolume"], 91.25);
/// let rest = good.cursor(page.next.unwrap()).all().await.unwrap();
/// assert_eq!(rest.len(), 1);
/// # node.shutdown().await.unwrap();
/// # });
/// ```
#[derive(Debug)]
#[must_use = "a query does nothing until it is asked: all, page, first, count, subscribe"]
pub struct Query<T = serde_json::Map<String, serde_json::Value>> {
    node: Node,
    list: ListQuery,
    of: PhantomData<fn() -> T>,
}

impl<T> Clone for Query<T> {
    fn clone(&self) -> Self {
        Self { node: self.node.clone(), list: self.list.clone(), of: PhantomData }
    }
}

impl<T: Serialize + DeserializeOwned + Send + 'static> Query<T> {
    pub(super) fn new(node: Node, collection: String) -> Self {
        Self { node, list: ListQuery { collection, ..ListQuery::default() }, of: PhantomData }
    }

    /// Only records that fulfil a condition, written as on the command line: `oilVolume>=80`.
    pub fn filter(mut self, condition: impl Into<String>) -> Self {
        self.list.filters.push(condition.into());
        self
    }

    /// Only records that hold this value, or hold it in a list; letters of texts count alike.
    pub fn equals(self, field: &str, value: impl Into<Value>) -> Self {
        self.filter(format!("{field}:={}", value.into().to_json()))
    }

    /// Only records that do not hold this value, those without any included.
    pub fn differs(self, field: &str, value: impl Into<Value>) -> Self {
        self.filter(format!("{field}!:={}", value.into().to_json()))
    }

    /// Only records that hold one of these values.
    pub fn one_of<V: Into<Value>>(self, field: &str, values: impl IntoIterator<Item = V>) -> Self {
        let values = Value::List(values.into_iter().map(Into::into).collect());
        self.filter(format!("{field}:={}", values.to_json()))
    }

    /// Only records with more than this, or later, or behind it in the alphabet.
    pub fn above(self, field: &str, value: impl Into<Value>) -> Self {
        self.filter(format!("{field}>{}", value.into().to_cell()))
    }

    /// Only records with this or more.
    pub fn at_least(self, field: &str, value: impl Into<Value>) -> Self {
        self.filter(format!("{field}>={}", value.into().to_cell()))
    }

    /// Only records with less than this.
    pub fn below(self, field: &str, value: impl Into<Value>) -> Self {
        self.filter(format!("{field}<{}", value.into().to_cell()))
    }

    /// Only records with this or less.
    pub fn at_most(self, field: &str, value: impl Into<Value>) -> Self {
        self.filter(format!("{field}<={}", value.into().to_cell()))
    }

    /// Only records about this time or later.
    pub fn since(mut self, time: Moment) -> Self {
        self.list.since = Some(time);
        self
    }

    /// Only records about a time before this.
    pub fn until(mut self, time: Moment) -> Self {
        self.list.until = Some(time);
        self
    }

    /// Only records about this well, asset, patient or pet.
    pub fn site(mut self, name: impl Into<String>) -> Self {
        self.list.site = Some(name.into());
        self
    }

    /// Only records that this person made: name, e-mail address or user id.
    pub fn author(mut self, name: impl Into<String>) -> Self {
        self.list.author = Some(name.into());
        self
    }

    /// Only records made on this device: name, id or an ending of it.
    pub fn device(mut self, name: impl Into<String>) -> Self {
        self.list.device = Some(name.into());
        self
    }

    /// Deleted records instead of the others.
    pub fn deleted(mut self) -> Self {
        self.list.deleted = true;
        self
    }

    /// Only records that have an open conflict.
    pub fn in_conflict(mut self) -> Self {
        self.list.in_conflict = true;
        self
    }

    /// Also records that stand behind another one which was made for the same thing.
    pub fn with_duplicates(mut self) -> Self {
        self.list.duplicates = true;
        self
    }

    /// Only records that are not safe so far.
    pub fn not_safe(mut self) -> Self {
        self.list.not_safe = true;
        self
    }

    /// The least first; `time` and `updated` are the times of a record. Those without a value come
    /// last.
    pub fn sort_up(mut self, field: &str) -> Self {
        self.list.sort = Some(format!("{field}:up"));
        self
    }

    /// The greatest first; those without a value come last.
    pub fn sort_down(mut self, field: &str) -> Self {
        self.list.sort = Some(format!("{field}:down"));
        self
    }

    /// At most so many.
    pub fn limit(mut self, count: usize) -> Self {
        self.list.limit = Some(count);
        self
    }

    /// Goes on behind a page of the same query.
    pub fn cursor(mut self, cursor: impl Into<String>) -> Self {
        self.list.cursor = Some(cursor.into());
        self
    }

    /// All records that it asks for.
    ///
    /// # Errors
    ///
    /// The collection, a field or a value is not understood, or [`Error::Shape`] where a record is
    /// none of this type.
    pub async fn all(self) -> Result<Vec<Typed<T>>, Error> {
        typed(self.node.list(self.list).await?)
    }

    /// The first of them.
    ///
    /// # Errors
    ///
    /// As of [`Query::all`].
    pub async fn first(self) -> Result<Option<Typed<T>>, Error> {
        Ok(self.limit(1).all().await?.pop())
    }

    /// A page of them, as many as the limit says, and the cursor of the next.
    ///
    /// # Errors
    ///
    /// As of [`Query::all`]; [`Error::Cursor`]: begin with the first page.
    pub async fn page(self) -> Result<Page<Typed<T>>, Error> {
        let Page { records, next, remaking } = self.node.page(self.list).await?;
        Ok(Page { records: typed(records)?, next, remaking })
    }

    /// How many there are; limit and cursor do not count.
    ///
    /// # Errors
    ///
    /// As of [`Query::all`].
    pub async fn count(self) -> Result<u64, Error> {
        self.node.count(self.list).await
    }

    /// Follows the answer: all of it first, then what is added, changed and removed.
    ///
    /// # Errors
    ///
    /// As of [`Node::subscribe`].
    pub async fn subscribe(self) -> Result<LiveQuery<Typed<T>>, Error> {
        Ok(self.node.subscribe(self.list).await?.map(Typed::read))
    }

    /// What changing all of them alike would do, to be looked at and then applied.
    ///
    /// # Errors
    ///
    /// As of [`Node::edit_all`].
    pub async fn preview(self, edits: Edits) -> Result<BulkPreview, Error> {
        self.node.preview_edit(self.list, edits).await
    }

    /// Changes all of them alike; if one cannot be changed so, none is.
    ///
    /// # Errors
    ///
    /// As of [`Node::edit_all`].
    pub async fn edit(self, edits: Edits) -> Result<BulkReport, Error> {
        let bulk = BulkEdit { list: self.list, edits, ..BulkEdit::default() };
        self.node.edit_all(bulk).await
    }
}
