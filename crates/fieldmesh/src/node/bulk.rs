//! Changes of many records at once, looked at first.

use crate::api::{BulkEdit, BulkReport, Edits, ListQuery};
use crate::error::Error;

use super::Node;

/// What a change of many records would do, as somebody looks at it.
#[derive(Debug)]
#[must_use = "a preview changes nothing until it is applied"]
pub struct BulkPreview {
    node: Node,
    bulk: BulkEdit,
    report: BulkReport,
}

impl BulkPreview {
    /// What would change, field by field, and what cannot.
    pub fn report(&self) -> &BulkReport {
        &self.report
    }

    /// Changes what the preview shows and nothing else: a record that was changed since, that does
    /// not fulfil the conditions any more or does so only now is passed over, and the report says
    /// so. Where the preview shows that one cannot be changed, none is, and the report is the same.
    ///
    /// # Errors
    ///
    /// As of [`Node::edit_all`].
    pub async fn apply(self) -> Result<BulkReport, Error> {
        if !self.report.refused.is_empty() {
            return Ok(self.report);
        }
        let seen = Some(self.report.seen());
        self.node.edit_all(BulkEdit { dry_run: false, seen, ..self.bulk }).await
    }
}

impl Node {
    /// Changes many records alike, or shows what that would do; if one of them cannot be changed,
    /// none is, and the report says why. A record that somebody else changes meanwhile is passed
    /// over, and the report says that too.
    ///
    /// A power cut may come in between; asked again, it changes what is left.
    ///
    /// # Errors
    ///
    /// The query or the edits are not understood, or [`Error::Unexpected`]: nothing is changed then.
    pub async fn edit_all(&self, bulk: BulkEdit) -> Result<BulkReport, Error> {
        self.blocking_on_all(move |ledger| ledger.edit_all(&bulk)).await
    }

    /// What changing the records of a query alike would do, to be looked at and then applied.
    ///
    /// # Errors
    ///
    /// The query or the edits are not understood.
    ///
    /// # Examples
    ///
    /// ```
    /// # let runtime = tokio::runtime::Runtime::new().unwrap();
    /// # runtime.block_on(async {
    /// # use fieldmesh::{Node, TenantOptions};
    /// # use fieldmesh::api::{Edits, ListQuery};
    /// # use serde_json::json;
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let builder = Node::builder(folder.path().join("home")).passphrase("correct horse");
    /// # let crew = TenantOptions { name: "Cedar Creek".into(), ..TenantOptions::default() };
    /// # let (node, _) = builder.create_tenant(crew).await.unwrap();
    /// # let well = json!({"name": "Alder 1", "apiNumber": "42-227-30001", "status": "ACTIVE"});
    /// # node.collection("well").insert(well.as_object().unwrap()).await.unwrap();
    /// let wells = ListQuery { collection: "well".into(), ..ListQuery::default() };
    /// let edits = Edits { assignments: vec!["operator=Cedar".into()], ..Edits::default() };
    /// let preview = node.preview_edit(wells, edits).await.unwrap();
    /// assert_eq!(preview.report().changed[0].fields[0].after, "Cedar");
    ///
    /// node.edit("Alder 1", Edits { assignments: vec!["operator=Alder".into()], ..Edits::default() })
    ///     .await
    ///     .unwrap();
    /// let report = preview.apply().await.unwrap();
    /// assert_eq!(report.changed.len(), 0, "nobody has seen what it says by now");
    /// assert_eq!(report.skipped.len(), 1);
    /// # node.shutdown().await.unwrap();
    /// # });
    /// ```
    pub async fn preview_edit(&self, list: ListQuery, edits: Edits) -> Result<BulkPreview, Error> {
        let bulk = BulkEdit { list, edits, dry_run: true, ..BulkEdit::default() };
        let report = self.edit_all(bulk.clone()).await?;
        Ok(BulkPreview { node: self.clone(), bulk, report })
    }
}
