//! The records of one collection as values of a Rust type.

mod query;

use std::marker::PhantomData;

use fieldmesh_model::{Moment, input};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};

use crate::api::{Edits, NewRecord, Record, Revision};
use crate::error::Error;
use crate::{LiveQuery, Node};

pub use self::query::Query;

/// A type whose values are records of one collection.
///
/// # Examples
///
/// ```
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// #[serde(rename_all = "camelCase")]
/// struct Well {
///     name: String,
///     api_number: String,
///     status: String,
///     operator: Option<String>,
/// }
///
/// impl fieldmesh::Stored for Well {
///     const COLLECTION: &'static str = "well";
/// }
/// ```
pub trait Stored: Serialize + DeserializeOwned + Send + 'static {
    /// The name of its collection.
    const COLLECTION: &'static str;
}

/// A record and its fields as a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Typed<T> {
    /// The fields. What a record holds and the type does not know is not lost by an update.
    pub value: T,
    /// The record: its id, who made it and when, its conflicts, where it is safe.
    pub record: Record,
}

impl<T: DeserializeOwned> Typed<T> {
    fn read(record: Record) -> Result<Self, Error> {
        let fields = Json::Object(record.fields.clone());
        let value = serde_json::from_value(fields).map_err(|error| Error::Shape {
            id: record.id,
            collection: record.collection.clone(),
            wanted: std::any::type_name::<T>(),
            reason: error.to_string(),
        })?;
        Ok(Self { value, record })
    }
}

/// The records of one collection.
///
/// # Examples
///
/// ```
/// # let runtime = tokio::runtime::Runtime::new().unwrap();
/// # runtime.block_on(async {
/// use fieldmesh::{Node, Stored, TenantOptions};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// #[serde(rename_all = "camelCase")]
/// struct Well {
///     name: String,
///     api_number: String,
///     status: String,
///     operator: Option<String>,
/// }
///
/// impl Stored for Well {
///     const COLLECTION: &'static str = "well";
/// }
///
/// let folder = tempfile::tempdir().unwrap();
/// let builder = Node::builder(folder.path().join("home")).passphrase("correct horse");
/// let crew = TenantOptions { name: "Cedar Creek".into(), ..TenantOptions::default() };
/// let (node, _) = builder.create_tenant(crew).await.unwrap();
/// let wells = node.collection_of::<Well>();
///
/// let alder = Well {
///     name: "Alder 1".into(),
///     api_number: "42-227-30001".into(),
///     status: "ACTIVE".into(),
///     operator: None,
/// };
/// wells.insert(&alder).await.unwrap();
/// let changed = wells.modify("Alder 1", |well| well.operator = Some("Cedar".into()));
/// assert_eq!(changed.await.unwrap().value.operator.as_deref(), Some("Cedar"));
///
/// let found = wells.query().equals("operator", "cedar").all().await.unwrap();
/// assert_eq!(found[0].value.name, "Alder 1");
/// assert_eq!(wells.query().equals("status", "PLUGGED").count().await.unwrap(), 0);
/// node.shutdown().await.unwrap();
/// # });
/// ```
#[derive(Debug)]
pub struct Collection<T = Map<String, Json>> {
    node: Node,
    name: String,
    of: PhantomData<fn() -> T>,
}

impl<T> Clone for Collection<T> {
    fn clone(&self) -> Self {
        Self { node: self.node.clone(), name: self.name.clone(), of: PhantomData }
    }
}

impl Node {
    /// The records of the collection `name`, as JSON objects.
    ///
    /// That there is such a collection is checked by each call on it.
    pub fn collection(&self, name: impl Into<String>) -> Collection {
        Collection { node: self.clone(), name: name.into(), of: PhantomData }
    }

    /// The records of the collection of `T`.
    pub fn collection_of<T: Stored>(&self) -> Collection<T> {
        Collection { node: self.clone(), name: T::COLLECTION.into(), of: PhantomData }
    }
}

impl<T: Serialize + DeserializeOwned + Send + 'static> Collection<T> {
    /// Creates a record; it is on disk when this returns.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] carries every fault; [`Error::Taken`] names the record that has the same
    /// natural key: update that one.
    pub async fn insert(&self, value: &T) -> Result<Typed<T>, Error> {
        let fields = fields_of(value)?;
        let new = NewRecord { collection: self.name.clone(), fields, ..NewRecord::default() };
        Typed::read(self.node.record(new).await?)
    }

    /// The record that `name` means: an id, the end of one, or a unique name.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], [`Error::Ambiguous`] with candidates, or [`Error::Shape`] where the
    /// record is none of this type.
    pub async fn get(&self, name: &str) -> Result<Typed<T>, Error> {
        Typed::read(self.record(name).await?)
    }

    /// The record as it was at a time, by the clocks of those who changed it.
    ///
    /// # Errors
    ///
    /// As of [`Collection::get`]; [`Error::NotFound`] also where it was not recorded by then.
    pub async fn get_at(&self, name: &str, at: Moment) -> Result<Typed<T>, Error> {
        let id = self.record(name).await?.id;
        Typed::read(self.node.show_at(&id.to_string(), at).await?)
    }

    /// Makes the fields of a record those of `value`; only what differs is written.
    ///
    /// A field that `value` says is null is cleared; one that it leaves out stays as it is.
    ///
    /// # Errors
    ///
    /// As of [`Collection::get`]; [`Error::Invalid`] carries every fault that this would bring in,
    /// [`Error::NotAllowed`] says who may.
    pub async fn update(&self, name: &str, value: &T) -> Result<Typed<T>, Error> {
        let before = self.record(name).await?;
        self.write(before, value).await
    }

    /// Reads a record, has it changed, and writes what differs.
    ///
    /// What others change of other fields meanwhile stays.
    ///
    /// # Errors
    ///
    /// As of [`Collection::update`].
    pub async fn modify(
        &self,
        name: &str,
        change: impl FnOnce(&mut T) + Send,
    ) -> Result<Typed<T>, Error> {
        let Typed { mut value, record } = self.get(name).await?;
        change(&mut value);
        self.write(record, &value).await
    }

    /// Deletes a record; it stays in the history.
    ///
    /// # Errors
    ///
    /// As of [`Collection::get`]; [`Error::NotAllowed`] says who may.
    pub async fn delete(&self, name: &str) -> Result<(), Error> {
        let id = self.record(name).await?.id;
        self.node.delete(&id.to_string()).await.map(drop)
    }

    /// Takes a deletion back.
    ///
    /// # Errors
    ///
    /// As of [`Collection::delete`].
    pub async fn restore(&self, name: &str) -> Result<Typed<T>, Error> {
        let id = self.record(name).await?.id;
        Typed::read(self.node.restore(&id.to_string()).await?)
    }

    /// Every change of a record, oldest first.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], or [`Error::Ambiguous`] with candidates.
    pub async fn history(&self, name: &str) -> Result<Vec<Revision>, Error> {
        let id = self.record(name).await?.id;
        self.node.history(&id.to_string()).await
    }

    /// A question about the records of this collection.
    pub fn query(&self) -> Query<T> {
        Query::new(self.node.clone(), self.name.clone())
    }

    /// Follows all records of this collection; see [`Query::subscribe`].
    ///
    /// # Errors
    ///
    /// There is no such collection.
    pub async fn subscribe(&self) -> Result<LiveQuery<Typed<T>>, Error> {
        self.query().subscribe().await
    }

    async fn record(&self, name: &str) -> Result<Record, Error> {
        let (collection, name) = (self.name.clone(), name.to_owned());
        let find = move |ledger: &crate::ledger::Ledger| ledger.show_in(&collection, &name);
        self.node.blocking(find).await
    }

    async fn write(&self, before: Record, value: &T) -> Result<Typed<T>, Error> {
        let fields = differences(&before.fields, fields_of(value)?)?;
        if fields.is_empty() {
            return Typed::read(before);
        }
        let edits = Edits { fields, ..Edits::default() };
        Typed::read(self.node.edit(&before.id.to_string(), edits).await?)
    }
}

/// The fields of a value.
fn fields_of<T: Serialize>(value: &T) -> Result<Map<String, Json>, Error> {
    let reason = match serde_json::to_value(value) {
        Ok(Json::Object(fields)) => return Ok(fields),
        Ok(_) => "it is no struct or map".to_owned(),
        Err(error) => error.to_string(),
    };
    let name = std::any::type_name::<T>();
    Err(Error::Usage { reason: format!("a {name} makes no record: {reason}") })
}

/// Those of the fields `after` that are not the same in `before`, nested as they were.
fn differences(
    before: &Map<String, Json>,
    after: Map<String, Json>,
) -> Result<Map<String, Json>, Error> {
    let flat = |fields| {
        input::flatten(&Json::Object(fields)).map_err(|error| Error::fault("", error.to_string()))
    };
    let (before, after) = (flat(before.clone())?, flat(after)?);
    let null = fieldmesh_model::Value::Null;
    let differs = |(key, value): &(&String, &fieldmesh_model::Value)| {
        let held = before.get(*key).unwrap_or(&null);
        !(held.is_same(value) || held.is_cleared() && value.is_cleared())
    };
    match input::nest(after.iter().filter(differs)) {
        Json::Object(fields) => Ok(fields),
        _ => Ok(Map::new()),
    }
}

/// A page or an event of records as values.
fn typed<T: DeserializeOwned>(records: Vec<Record>) -> Result<Vec<Typed<T>>, Error> {
    records.into_iter().map(Typed::read).collect()
}
