//! One run: the relay and its tenants are made, everybody works, and what came of it is judged.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use serde_json::Value as Json;
use tokio::runtime::{Handle, Runtime};

use crate::app::{EMAIL, PASSWORD};
use crate::apps::{Dialect, Tablet};
use crate::crew::Crew;
use crate::figures::Figures;
use crate::live::Listener;
use crate::numbers::Numbers;
use crate::process::Outcome;
use crate::relay::{Relay, RunningRelay};
use crate::site::Site;
use crate::size::Size;
use crate::tell;
use crate::watch::Watch;

/// How many devices and apps are at work at a time.
const WORKERS: usize = 8;
/// Entries that a device records while it is open, at the most.
const ENTRIES_MAX: usize = 4;
/// How many steps there are at the least for each device.
const STEPS_PER_DEVICE: usize = 6;
/// A step in so many is that of a device, all others are an app's.
const DEVICE_EVERY: usize = 3;
/// What the relay is told so that no limit of rate is in the way of few apps that do much.
const LIMITS: [&str; 4] = [
    "--address-requests-a-second",
    "--sync-requests-a-minute",
    "--step-requests-a-minute",
    "--tenant-requests-a-second",
];
/// What the relay may not have counted in the end.
const MUST_BE_ZERO: [&str; 5] = [
    "sync_relay_http_defects_total",
    "sync_relay_http_responses_total{status=\"5xx\"}",
    "sync_relay_tenants_broken",
    "sync_relay_append_failures_total",
    "sync_relay_damaged",
];

/// Everything that a run needs.
struct Scene {
    size: Size,
    figures: Figures,
    crews: Vec<Crew>,
    /// Tenant and device of each seat, in the order of the plan.
    seats: Vec<(usize, usize)>,
    runtime: Runtime,
}

/// Does it; gives what went wrong.
pub(crate) fn run(size: Size) -> Vec<String> {
    let site = Site::new();
    let relay = site.relay();
    let (open_max, any) = (size.open_tenants_max().to_string(), "1000000");
    let mut flags = vec!["--open-tenants-max", &open_max];
    LIMITS.iter().for_each(|limit| flags.extend([*limit, any]));
    let running = relay.start_with("127.0.0.1:0", &flags);
    let watch = Watch::begin(running.pid());
    let scene = Scene::new(size, &site, &relay, &running);
    tell(&format!("cargo load {size}: {} tenants are made", scene.crews.len()));
    scene.join(&relay);
    tell(&format!("{} devices joined", scene.seats.len()));
    let listeners = scene.listen(&running);
    scene.work();
    scene.judge(&listeners);
    scene.metrics(&running);
    let watched = watch.end();
    let Scene { figures, .. } = scene;
    let ended = figures.time("relay ends in order", || ended_well(running.end()));
    if let Some(Outcome { stderr, .. }) = ended {
        tell(&warnings(&stderr));
        figures.time("relay's own check", || ended_well(relay.run(&["--json", "verify"])));
    }
    watched.judge(size).into_iter().for_each(|fault| figures.fault(fault));
    tell(&format!("\n{figures}\n{}", watched.told()));
    figures.faults()
}

impl Scene {
    /// Has the relay make the tenants, each with a person who may log in.
    fn new(size: Size, site: &Site, relay: &Relay, running: &RunningRelay) -> Self {
        let figures = Figures::default();
        let slugs = each(size.tenants, |tenant| {
            figures.time("tenant made by command", || made(relay, tenant))
        });
        let homes = site.path("homes");
        std::fs::create_dir(&homes).unwrap();
        let crews = slugs.into_iter().enumerate().filter_map(|(tenant, slug)| {
            let count =
                size.devices / size.tenants + usize::from(tenant < size.devices % size.tenants);
            let home = |device| homes.join(format!("{tenant}-{device}"));
            let tablet = Tablet::new(running.http(), slug?);
            let homes = (0..count).map(home).collect();
            Some(Crew::new(tenant, homes, tablet, running.address()))
        });
        let crews: Vec<Crew> = crews.collect();
        let mut seats: Vec<(usize, usize)> = Vec::new();
        for (place, crew) in crews.iter().enumerate() {
            seats.extend((0..crew.devices()).map(|device| (place, device)));
        }
        let mut numbers = Numbers::of(size.seed, "seats", 0);
        (1..seats.len()).rev().for_each(|last| seats.swap(last, numbers.below(last + 1)));
        Self { size, figures, crews, seats, runtime: Runtime::new().unwrap() }
    }

    fn handle(&self) -> &Handle {
        self.runtime.handle()
    }

    /// Lets every device join: the first of each tenant, then all others.
    fn join(&self, relay: &Relay) {
        let time = |kind, deed: &dyn Fn() -> Result<(), String>| self.figures.time(kind, deed);
        let invitations = each(self.crews.len(), |place| {
            let crew = &self.crews[place];
            let invited = self.figures.time("invitations by command", || {
                let first = invite(relay, crew, "admin", 1)?;
                let others = invite(relay, crew, "manager", crew.devices() - 1)?;
                Ok([first, others].concat())
            });
            time("app logs in", &|| crew.tablet.log_in());
            invited.unwrap_or_default()
        });
        let join = |place: usize, device: usize| {
            let Some(invitation) = invitations[place].get(device) else { return };
            let crew = &self.crews[place];
            time("device joins and syncs", &|| crew.join(self.handle(), device, invitation));
        };
        each(self.crews.len(), |place| join(place, 0));
        each(self.seats.len(), |seat| match self.seats[seat] {
            (_, 0) => {}
            (place, device) => join(place, device),
        });
    }

    /// Has apps of some tenants listen.
    fn listen(&self, running: &RunningRelay) -> Vec<(usize, Listener)> {
        let listen = |place: usize| {
            let begin = || Listener::begin(&running.http(), &self.crews[place].tablet.token());
            Some((place, self.figures.time("HTTP live stream opened", begin)?))
        };
        (0..self.size.listeners().min(self.crews.len())).filter_map(listen).collect()
    }

    /// Devices and apps work side by side, each step as the seed says.
    fn work(&self) {
        let (begin, at_least) = (Instant::now(), self.seats.len() * STEPS_PER_DEVICE);
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..WORKERS {
                scope.spawn(|| {
                    loop {
                        let step = next.fetch_add(1, Ordering::Relaxed);
                        if step >= at_least && begin.elapsed() >= self.size.time() {
                            return;
                        }
                        self.step(step);
                    }
                });
            }
        });
    }

    fn step(&self, step: usize) {
        let mut numbers = Numbers::of(self.size.seed, "steps", step);
        if step.is_multiple_of(DEVICE_EVERY) {
            let (place, device) = self.seats[step / DEVICE_EVERY % self.seats.len()];
            let (crew, count) = (&self.crews[place], 1 + numbers.below(ENTRIES_MAX));
            let visit = || crew.visit(self.handle(), device, count);
            self.figures.time("device opens, records, syncs", visit);
            return;
        }
        let crew = numbers.pick(&self.crews);
        match numbers.below(100) {
            0..70 => self.push(crew, *numbers.pick(&Dialect::ALL), numbers.percent(20)),
            70..85 => drop(self.figures.time("HTTP pull of all, pages", || crew.tablet.pull())),
            85..95 => {
                drop(
                    self.figures.time("HTTP pull of entries, wellpulse", || crew.tablet.entries()),
                );
            }
            95..99 => {
                let photo = numbers.draw();
                self.figures.time("HTTP photo up and down", || crew.tablet.photo(photo));
            }
            _ => drop(self.figures.time("app logs in", || crew.tablet.log_in())),
        }
    }

    /// An app pushes a record; where the answer was lost, it pushes it again.
    fn push(&self, crew: &Crew, dialect: Dialect, is_repeated: bool) {
        let (mark, well) = (crew.marks.draw(), crew.well.lock().unwrap().clone());
        for _ in 0..1 + usize::from(is_repeated) {
            let push = || crew.tablet.push(dialect, mark, &well);
            if self.figures.time(dialect.push(), push).is_some() {
                crew.marks.acknowledge([mark]);
            }
        }
        if dialect == Dialect::Wellpulse && crew.marks.acknowledged().contains(&mark) {
            crew.entries.lock().unwrap().push(mark);
        }
    }

    /// Everybody looks once more, and has to find everything.
    fn judge(&self, listeners: &[(usize, Listener)]) {
        each(self.seats.len(), |seat| {
            let (place, device) = self.seats[seat];
            let crew = &self.crews[place];
            let show = || crew.shown(self.handle(), device);
            let Some((seen, said)) = self.figures.time("device is judged", show) else { return };
            let faults = crew.marks.judge(&seen);
            if faults.is_empty() {
                return;
            }
            // Whether it stays so, for whoever looks for the reason.
            let later = show().map(|(seen, said)| (crew.marks.judge(&seen), said));
            let (who, faults) =
                (format!("device {device} of tenant {}", crew.number), faults.join("; "));
            self.figures
                .fault(format!("{who}: {faults}; it says {said}; and a second time {later:?}"));
        });
        each(self.crews.len(), |place| {
            let crew = &self.crews[place];
            let seen = self.figures.time("app is judged", || crew.tablet.pull());
            for fault in seen.map(|seen| crew.marks.judge(&seen)).unwrap_or_default() {
                self.figures.fault(format!("the app of tenant {}: {fault}", crew.number));
            }
        });
        for (place, listener) in listeners {
            listener.must_hear(&self.crews[*place].entries.lock().unwrap());
        }
        let marks: usize = self.crews.iter().map(|crew| crew.marks.acknowledged().len()).sum();
        tell(&format!("{marks} records were acknowledged and looked for everywhere"));
    }

    /// What the relay itself has counted.
    fn metrics(&self, running: &RunningRelay) {
        let app = crate::app::App { address: running.http(), token: String::new() };
        let (status, text) = app.download("/metrics");
        let text = String::from_utf8_lossy(&text);
        if status != 200 {
            self.figures.fault(format!("/metrics is answered {status}"));
        }
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let is_meant = MUST_BE_ZERO.iter().any(|name| line.starts_with(name));
            if is_meant && !line.ends_with(" 0") {
                self.figures.fault(format!("/metrics has {line}"));
            }
        }
    }
}

/// Has the relay make a tenant and a person in it; gives the slug.
fn made(relay: &Relay, tenant: usize) -> Result<String, String> {
    let name = format!("Crew {tenant}");
    let create = ["--json", "tenant", "create", &name, "--gateway"];
    let made = ended_well(relay.run(&create))?.json();
    let slug = made["slug"].as_str().ok_or_else(|| format!("no slug: {made}"))?.to_owned();
    let add = ["user", "add", "--tenant", &slug, EMAIL, "--role", "admin", "--password-stdin"];
    ended_well(relay.run_with(&add, PASSWORD))?;
    Ok(slug)
}

fn invite(relay: &Relay, crew: &Crew, role: &str, count: usize) -> Result<Vec<String>, String> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let (slug, count) = (crew.tablet.slug(), count.to_string());
    let invite = ["--json", "invite", "--tenant", slug, "--role", role, "--count", &count];
    let lines = ended_well(relay.run(&invite))?.lines();
    let invitation = |line: &Json| line["invitation"].as_str().map(str::to_owned);
    Ok(lines.iter().filter_map(invitation).collect())
}

/// The warnings in a log, each kind once.
fn warnings(log: &str) -> String {
    let lines = log.lines().filter_map(|line| line.split_once(" WARN ").map(|(_, rest)| rest));
    // What stands behind the words differs from line to line.
    let kinds: BTreeSet<&str> = lines.clone().map(|line| line.split('=').next().unwrap()).collect();
    format!("the relay warned {} times: {kinds:?}", lines.count())
}

/// Fails where a program did not end well, or its log tells of an error.
fn ended_well(outcome: Outcome) -> Result<Outcome, String> {
    let is_error = |line: &&str| line.contains("panicked at") || line.contains(" ERROR ");
    match outcome.stderr.lines().find(is_error) {
        Some(line) => Err(format!("`{}` says {line}", outcome.title)),
        None if outcome.code != Some(0) => {
            Err(format!("`{}` ended with {:?}: {}", outcome.title, outcome.code, outcome.stderr))
        }
        None => Ok(outcome),
    }
}

/// Does something with each number below `count`, some at a time; gives what came of it in order.
fn each<T: Send>(count: usize, deed: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    let made = deed(number);
                    done.lock().unwrap().push((number, made));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap();
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, made)| made).collect()
}
