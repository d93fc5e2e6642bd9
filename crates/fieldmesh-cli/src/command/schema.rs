//! `schema`: the collections that the tenant defines.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use fieldmesh::api::{Problem, SchemaOptions, SchemaStep, Unreadable};
use fieldmesh_model::schema::SCHEMA_SIZE_MAX;

use super::Context;
use crate::args::{SchemaArgs, SchemaCommand};
use crate::exit::Failure;
use crate::problem;
use crate::render;

/// `schema`
pub(super) async fn schema(context: &Context<'_>, args: &SchemaArgs) -> Result<(), Failure> {
    match &args.command {
        SchemaCommand::Check { file } => {
            take(context, file, SchemaStep::Check, Unreadable::Keep).await
        }
        SchemaCommand::Apply { file, dry_run, replace_unreadable } => {
            let step = if *dry_run { SchemaStep::Preview } else { SchemaStep::Apply };
            let unreadable = match replace_unreadable {
                true => Unreadable::Replace,
                false => Unreadable::Keep,
            };
            take(context, file, step, unreadable).await
        }
        SchemaCommand::Show { name } => show(context, name.clone()).await,
    }
}

async fn take(
    context: &Context<'_>,
    file: &Path,
    step: SchemaStep,
    unreadable: Unreadable,
) -> Result<(), Failure> {
    let options = SchemaOptions { text: read(file)?, step, unreadable };
    context
        .with_home(async |home| {
            let report = home.schema(options).await?;
            context.terminal.value(&report, |report, _| render::schema(report, step))
        })
        .await
}

async fn show(context: &Context<'_>, name: Option<String>) -> Result<(), Failure> {
    context
        .with_home(async |home| {
            let is_one = name.is_some();
            let found = home.schemas(name).await?;
            match is_one {
                true => context.terminal.list(&found, render::schema_file),
                false => context.terminal.list(&found, render::schemas),
            }
        })
        .await
}

/// The text of a schema file, as far as one may be long.
fn read(path: &Path) -> Result<String, Problem> {
    let source: Box<dyn Read> = match path == Path::new("-") {
        true => Box::new(io::stdin()),
        false => Box::new(File::open(path).map_err(|error| problem::unreadable(path, &error))?),
    };
    let mut bytes = Vec::new();
    // One byte more tells that it is too long.
    let most = SCHEMA_SIZE_MAX as u64 + 1;
    source.take(most).read_to_end(&mut bytes).map_err(|error| problem::unreadable(path, &error))?;
    if bytes.len() > SCHEMA_SIZE_MAX {
        let most = SCHEMA_SIZE_MAX / 1024;
        return Err(problem::invalid(format!("{} is larger than {most} KiB", path.display())));
    }
    String::from_utf8(bytes)
        .map_err(|_| problem::invalid(format!("{} is no text in UTF-8", path.display())))
}
