//! `demo`: a crew's day, played by real processes on this machine.
//!
//! A relay and three devices run as the programs that users run, each with a home of its own. This
//! process only does what people would do: it starts programs, gives commands and reads answers.
//! It notes every id that `record` printed, and at the end looks for each of them everywhere.

mod accident;
mod acknowledged;
mod apart;
mod crew;
mod device;
mod enrolment;
mod entry;
mod error;
mod folder;
mod homecoming;
mod meeting;
mod patience;
mod program;
mod reckoning;
mod relay;
mod teller;

use std::time::Duration;

use tokio::time::timeout;

use crate::args::DemoArgs;
use crate::exit::Failure;
use crate::terminal::Terminal;

use self::crew::Crew;
use self::error::DemoError;
use self::folder::Folder;
use self::program::Programs;
use self::reckoning::Outcome;
use self::teller::Teller;

/// How long the whole day may take, on the slowest machine that is worth waiting for.
const DAY_TIME_MAX: Duration = Duration::from_secs(300);
/// How long after the end of a command a signal that ended it may arrive here.
const SIGNAL_TIME_MAX: Duration = Duration::from_millis(100);

/// `demo`
pub(crate) async fn demo(args: &DemoArgs, terminal: &Terminal) -> Result<(), Failure> {
    let mut signals = crate::problem::signals()?;
    let folder = Folder::create().map_err(|error| error.problem())?;
    let programs = Programs::find(folder.path()).map_err(|error| error.problem())?;
    let mut teller = Teller::new(terminal);
    let mut crew = Crew::new(&programs, folder.path());
    let mut ended = tokio::select! {
        outcome = Box::pin(play(&mut crew, &mut teller, args)) => outcome,
        () = signals.next() => Err(DemoError::Interrupted),
        () = tokio::time::sleep(DAY_TIME_MAX) => Err(DemoError::TimedOut {
            what: "the end of the day".into(),
            limit: DAY_TIME_MAX,
        }),
    };
    // Ctrl-C on a terminal reaches commands of the demo too, and their end may be seen first.
    if ended.is_err() && timeout(SIGNAL_TIME_MAX, signals.next()).await.is_ok() {
        ended = Err(DemoError::Interrupted);
    }
    crew.end().await;
    match ended {
        Ok(outcome) => {
            teller.end(&outcome, programs.started())?;
            if args.keep {
                teller.keep(&folder.keep(), &programs, &crew)?;
            }
            Ok(())
        }
        Err(DemoError::OutputClosed) => Err(Failure::OutputClosed),
        Err(DemoError::Interrupted) => Err(DemoError::Interrupted.problem().into()),
        Err(error) => {
            teller.failed(&error, &folder.keep())?;
            Err(error.problem().into())
        }
    }
}

async fn play(
    crew: &mut Crew,
    teller: &mut Teller<'_>,
    args: &DemoArgs,
) -> Result<Outcome, DemoError> {
    teller.begin()?;
    enrolment::play(crew, teller).await?;
    apart::play(crew, teller).await?;
    meeting::play(crew, teller, !args.no_mdns).await?;
    accident::play(crew, teller).await?;
    homecoming::play(crew, teller).await?;
    let outcome = reckoning::play(crew, teller).await?;
    crew.go_home().await?;
    Ok(outcome)
}
