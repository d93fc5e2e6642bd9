//! The commands on records.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use fieldmesh::api::{Edits, ListQuery, NewRecord, Page, Problem, Record};
use fieldmesh_model::catalogue;
use serde_json::{Map, Value as Json};

use super::{Context, bulk, draft, progress};
use crate::args::{EditArgs, IdArgs, ListArgs, RecordArgs, ShowArgs};
use crate::backend::Backend;
use crate::exit::Failure;
use crate::problem;
use crate::render;

/// `record`
pub(super) async fn record(context: &Context<'_>, args: &RecordArgs) -> Result<(), Failure> {
    if args.draft {
        return draft::begin(context, args).await;
    }
    let new = |fields| NewRecord {
        collection: args.collection.clone(),
        fields,
        assignments: args.values.clone(),
        at: args.at,
    };
    let Some(from) = &args.from else {
        let new = new(Map::new());
        return context.with_home(async |home| print_id(context, &home.record(new).await?)).await;
    };
    let objects = open_objects(from)?;
    context
        .with_home(async |home| {
            for (index, fields) in objects.enumerate() {
                record_object(context, home, index, fields.map(new)).await?;
            }
            Ok(())
        })
        .await
}

async fn record_object(
    context: &Context<'_>,
    home: &dyn Backend,
    index: usize,
    new: Result<NewRecord, Problem>,
) -> Result<(), Failure> {
    let recorded = match new {
        Ok(new) => home.record(new).await,
        Err(problem) => Err(problem),
    };
    let recorded = recorded.map_err(|mut problem| {
        if index > 0 {
            let before = match index {
                1 => "the object before it is recorded".to_owned(),
                count => format!("the {count} objects before it are recorded"),
            };
            problem.detail = format!("object {} ({before}): {}", index + 1, problem.detail);
        }
        problem
    })?;
    print_id(context, &recorded)
}

fn print_id(context: &Context<'_>, record: &Record) -> Result<(), Failure> {
    context.terminal.value(record, |record, _| record.id.to_string())
}

type Object = Result<Map<String, Json>, Problem>;

fn open_objects(from: &str) -> Result<Box<dyn Iterator<Item = Object>>, Problem> {
    if from == "-" {
        return Ok(Box::new(objects(io::stdin())));
    }
    let path = Path::new(from);
    let file = File::open(path).map_err(|error| problem::unreadable(path, &error))?;
    Ok(Box::new(objects(file)))
}

/// The JSON objects of a text, one after the other however they are laid out.
fn objects(source: impl Read) -> impl Iterator<Item = Object> {
    let values = serde_json::Deserializer::from_reader(BufReader::new(source)).into_iter::<Json>();
    values.map(|value| match value {
        Ok(Json::Object(fields)) => Ok(fields),
        Ok(_) => Err(problem::invalid("the fields must be a JSON object, {\"field\": value}")),
        Err(error) if error.is_io() => Err(problem::failed(format!("cannot read: {error}"))),
        Err(error) => Err(problem::invalid(format!("this is no JSON: {error}"))),
    })
}

/// `edit`
pub(super) async fn edit(context: &Context<'_>, args: &EditArgs) -> Result<(), Failure> {
    let edits = Edits { fields: Map::new(), assignments: args.values.clone() };
    if let Some(collection) = &args.all {
        return bulk::edit_all(context, args, collection).await;
    }
    context
        .with_home(async |home| {
            // What cannot be shown is refused by the edit, in its words.
            let before = home.show(args.id.clone()).await.ok().and_then(|record| record.version);
            let record = home.edit(args.id.clone(), edits).await?;
            let is_same = before.is_some() && before == record.version;
            done(
                context,
                &record,
                if is_same { "As it was, nothing changed in" } else { "Changed" },
            )
        })
        .await
}

/// `delete`
pub(super) async fn delete(context: &Context<'_>, args: &IdArgs) -> Result<(), Failure> {
    context
        .with_home(async |home| {
            let record = home.delete(args.id.clone()).await?;
            done(context, &record, "Deleted")
        })
        .await
}

/// `restore-record`
pub(super) async fn restore(context: &Context<'_>, args: &IdArgs) -> Result<(), Failure> {
    context
        .with_home(async |home| {
            let record = home.restore(args.id.clone()).await?;
            done(context, &record, "Restored")
        })
        .await
}

/// Says to people what was done to a record; programs get the record.
pub(super) fn done(context: &Context<'_>, record: &Record, what: &str) -> Result<(), Failure> {
    if context.terminal.json() {
        return context.terminal.json_line(record);
    }
    context.terminal.say(&format!("{what} {} {}.", record.collection, record.id));
    Ok(())
}

/// `show`
pub(super) async fn show(context: &Context<'_>, args: &ShowArgs) -> Result<(), Failure> {
    context
        .with_home(async |home| {
            let record = match args.at {
                Some(at) => home.show_at(args.id.clone(), at).await?,
                None => home.show(args.id.clone()).await?,
            };
            context.terminal.value(&record, render::record)
        })
        .await
}

/// `history`
pub(super) async fn history(context: &Context<'_>, args: &IdArgs) -> Result<(), Failure> {
    context
        .with_home(async |home| {
            let revisions = home.history(args.id.clone()).await?;
            context.terminal.list(&revisions, render::history)
        })
        .await
}

/// `list`
pub(super) async fn list(context: &Context<'_>, args: &ListArgs) -> Result<(), Failure> {
    let query = ListQuery {
        collection: args.collection.clone(),
        filters: args.filters.clone(),
        since: args.since,
        until: args.until,
        limit: args.limit,
        deleted: args.deleted,
        not_safe: args.not_safe,
        in_conflict: args.conflict,
        duplicates: args.duplicates,
        awaiting: args.awaiting,
        site: args.site.clone(),
        author: args.author.clone(),
        device: args.device.clone(),
        sort: args.sort.clone(),
        cursor: args.cursor.clone(),
        // What reads a file or a pipe would not see that some are missing, so it waits for them.
        partial: context.terminal.is_read_by_people(),
    };
    context
        .with_home(async |home| {
            if args.count || !query.partial {
                progress::until_all(context.terminal, home, &query.collection).await;
            }
            if args.count {
                let count = home.count(query).await?;
                return context.terminal.value(&count, |count, _| count.to_string());
            }
            let Page { records, next, remaking } = home.page(query).await?;
            if records.is_empty() && remaking.is_none() {
                context.terminal.say("No records.");
            }
            context.terminal.list(&records, render::records)?;
            if let Some(remaking) = remaking {
                context.terminal.complain(&render::not_all(remaking, records.len()));
            }
            if let Some(next) = next {
                context.terminal.say(&format!("There is more: add --cursor {next}"));
            }
            // A daemon of an older version holds everything.
            let kept = home.kept().await.unwrap_or_default();
            let name = catalogue::named(&args.collection).map(|known| known.name.as_str());
            if let Some(note) = name.and_then(|name| render::begins_at(&kept, name)) {
                context.terminal.say(&note);
            }
            Ok(())
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_may_be_laid_out_anyhow_and_the_first_wrong_one_is_told() {
        let text = "{\"a\":1}\n{\n  \"b\": 2\n} {\"c\":3}\n[4]";
        let found: Vec<Object> = objects(text.as_bytes()).collect();
        assert_eq!(found.len(), 4);
        assert!(found[..3].iter().all(Result::is_ok));
        assert!(found[3].is_err());
        assert!(objects("{\"a\":".as_bytes()).next().unwrap().is_err());
        assert_eq!(objects(" \n".as_bytes()).count(), 0);
    }
}
