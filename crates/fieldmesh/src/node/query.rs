//! Questions about many records and records of the past.

use fieldmesh_model::Moment;

use crate::api::{ChangesPage, ChangesQuery, ListQuery, Page, Record};
use crate::error::Error;
use crate::ledger::Ledger;

use super::Node;

impl Node {
    /// A page of records, and the cursor of the next one.
    ///
    /// Give the same query with that cursor for what follows. Records that come or change meanwhile
    /// are on the pages that are not read so far, or on none; those that stay are on one page.
    ///
    /// # Errors
    ///
    /// The query is not understood, or [`Error::Cursor`]: begin with the first page.
    pub async fn page(&self, query: ListQuery) -> Result<Page, Error> {
        if query.partial {
            let page = move |ledger: &Ledger| ledger.page(&query);
            return self.blocking(move |ledger| ledger.on_one_view(page)).await;
        }
        self.reading(move |ledger| ledger.page(&query)).await
    }

    /// How many records a query asks for; its limit and its cursor do not count.
    ///
    /// # Errors
    ///
    /// The query is not understood.
    pub async fn count(&self, query: ListQuery) -> Result<u64, Error> {
        self.reading(move |ledger| ledger.count(&query)).await
    }

    /// A record as it was at a time, by the clocks of those who changed it.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] also where it was not recorded by then.
    pub async fn show_at(&self, name: &str, at: Moment) -> Result<Record, Error> {
        self.on_record(name, move |ledger, id| ledger.show_at(id, at)).await
    }

    /// What has changed since a cursor, in the order in which it arrived here: each record once, at
    /// its last change.
    ///
    /// # Errors
    ///
    /// The collection is not known, or [`Error::Cursor`]: begin without one.
    ///
    /// # Examples
    ///
    /// ```
    /// # let runtime = tokio::runtime::Runtime::new().unwrap();
    /// # runtime.block_on(async {
    /// # use fieldmesh::{Node, TenantOptions};
    /// # use fieldmesh::api::{ChangeKind, ChangesQuery};
    /// # use serde_json::json;
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let builder = Node::builder(folder.path().join("home")).passphrase("correct horse");
    /// # let crew = TenantOptions { name: "Cedar Creek".into(), ..TenantOptions::default() };
    /// # let (node, _) = builder.create_tenant(crew).await.unwrap();
    /// let known = node.changes(ChangesQuery::default()).await.unwrap();
    /// let well = json!({"name": "Alder 1", "apiNumber": "42-227-30001", "status": "ACTIVE"});
    /// let well = node.collection("well").insert(well.as_object().unwrap()).await.unwrap();
    ///
    /// let query = ChangesQuery { after: Some(known.next), ..ChangesQuery::default() };
    /// let news = node.changes(query).await.unwrap();
    /// assert_eq!(news.changes[0].id, well.record.id);
    /// assert_eq!(news.changes[0].kind, ChangeKind::Created);
    /// # node.shutdown().await.unwrap();
    /// # });
    /// ```
    pub async fn changes(&self, query: ChangesQuery) -> Result<ChangesPage, Error> {
        self.reading(move |ledger| ledger.changes(&query)).await
    }
}
