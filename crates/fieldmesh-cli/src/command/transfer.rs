//! `import` and `export`.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use fieldmesh::api::{Class, ExportFormat, ExportQuery, ImportOptions, ListQuery, Problem};

use super::{Context, progress};
use crate::args::{ExportArgs, Format, ImportArgs};
use crate::backend::Source;
use crate::exit::Failure;
use crate::problem;
use crate::render;

/// How much of an export is written at once.
const PIECE_SIZE: usize = 64 << 10;

/// `import`
pub(super) async fn import(context: &Context<'_>, args: &ImportArgs) -> Result<(), Failure> {
    let (source, size) = open(&args.file)?;
    let mapping = match &args.map {
        Some(path) => {
            Some(std::fs::read_to_string(path).map_err(|error| problem::unreadable(path, &error))?)
        }
        None => None,
    };
    let (collection, update, dry_run) = (args.collection.clone(), args.update, args.dry_run);
    let options = ImportOptions { collection, mapping, update, dry_run };
    context
        .with_home(async |home| {
            let bar = progress::file_bar(context.terminal, size);
            let listener = progress::listener(context.terminal, &bar);
            let report = home.import(source, options, listener).await;
            bar.finish_and_clear();
            let report = report?;
            context.terminal.value(&report, render::imported)?;
            if args.dry_run {
                context.terminal.say("Nothing was written.");
            }
            match report.refused {
                0 => Ok(()),
                _ => Err(Failure::Reported(Class::Invalid)),
            }
        })
        .await
}

fn open(path: &Path) -> Result<(Source, Option<u64>), Problem> {
    if path == Path::new("-") {
        return Ok((Box::new(io::stdin()), None));
    }
    let file = File::open(path).map_err(|error| problem::unreadable(path, &error))?;
    let metadata = file.metadata().map_err(|error| problem::unreadable(path, &error))?;
    if metadata.is_dir() {
        return Err(problem::usage(format!("{} is a folder", path.display())));
    }
    let size = metadata.is_file().then_some(metadata.len());
    Ok((Box::new(file), size))
}

/// `export`
pub(super) async fn export(context: &Context<'_>, args: &ExportArgs) -> Result<(), Failure> {
    let query = ExportQuery {
        list: ListQuery {
            collection: args.collection.clone(),
            filters: args.filters.clone(),
            since: args.since,
            until: args.until,
            awaiting: args.awaiting,
            ..ListQuery::default()
        },
        also: args.also.clone(),
        format: match args.format {
            Format::Csv => ExportFormat::Csv,
            Format::Jsonl => ExportFormat::Jsonl,
        },
        history: args.history,
    };
    context
        .with_home(async |home| {
            progress::until_all(context.terminal, home, &query.list.collection).await;
            let output = Output::default();
            let sink = io::BufWriter::with_capacity(PIECE_SIZE, output.clone());
            let exported = home.export(query, Box::new(sink)).await;
            // What the reader of the output did is the cause of what the export met.
            output.outcome()?;
            exported?;
            Ok(())
        })
        .await
}

/// Standard output, which remembers why it could not be written.
#[derive(Debug, Clone, Default)]
struct Output {
    failure: Arc<Mutex<Option<io::Error>>>,
}

impl Output {
    fn outcome(&self) -> io::Result<()> {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.take().map_or(Ok(()), Err)
    }

    fn remember<T>(&self, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| {
            let kind = error.kind();
            let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
            failure.get_or_insert(error);
            kind.into()
        })
    }
}

impl io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = io::stdout().write_all(bytes).map(|()| bytes.len());
        self.remember(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = io::stdout().flush();
        self.remember(flushed)
    }
}
