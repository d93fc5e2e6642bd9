//! Pages of the feed: what a client has not seen, in the order of arrival.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use fieldmesh::gateway::{Held, Mark};
use fieldmesh_dialect::command::{Condition, Pull, Push, Wanted};
use fieldmesh_dialect::outcome::{Happened, Item, Page, Record};
use fieldmesh_dialect::{CursorError, Dialect, Outcome, Refusal, Since};
use fieldmesh_model::catalogue::BUILT_IN_END;
use fieldmesh_model::catalogue::free::FREE_RECORD;
use fieldmesh_model::catalogue::wells::FIELD_ENTRY;
use fieldmesh_model::{DocumentId, Fields, Role, Value};

use crate::entity::{Entity, built_in, has_open_types};
use crate::free::field;
use crate::late::Late;
use crate::names::Showing;
use crate::{Failure, Task, rights};

/// Records of one collection that are looked up at once.
const CHUNK: usize = 256;
/// Records that one page looks at: one whose conditions fit few records ends before them.
const SCAN_MAX: usize = 20_000;
/// The bytes of fields with which a page ends whose client can go on behind it: of large records ten
/// thousand would be gigabytes.
pub(crate) const PAGE_SIZE_MAX: usize = 8 << 20;
/// The bits of a position that say which leaf of an entry it is; one entry has one moment.
const LEAF_BITS: u32 = 16;

/// The records of a collection, in order, as a page goes through them.
struct Line<'a> {
    collection: u16,
    /// The type that is wanted, where the collection holds several.
    kind: Option<Entity>,
    wanted: Option<&'a Wanted>,
    origin: Origin,
    ahead: VecDeque<(u64, DocumentId)>,
    after: u64,
    is_read: bool,
    taken: usize,
}

/// Where the records of a line stand.
#[derive(Clone)]
enum Origin {
    /// In the feed, but for those that stand where they were listed.
    Feed(Rc<Late>),
    /// Where they were listed.
    Listed(Rc<Late>),
}

/// About how many bytes a record takes.
pub(crate) fn record_size(record: &Record) -> usize {
    fields_size(&record.fields)
}

/// About how many bytes fields take.
pub(crate) fn fields_size(fields: &Fields) -> usize {
    /// What is there of each besides what is in it.
    const EACH: usize = 32;
    fn of(value: &Value) -> usize {
        EACH + match value {
            Value::Text(text) => text.len(),
            Value::List(items) => items.iter().map(of).sum(),
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Moment(_) => 0,
        }
    }
    fields.iter().map(|(key, value)| EACH + key.len() + of(value)).sum()
}

/// A page in the making.
struct Reading<'a> {
    task: Task<'a>,
    pull: &'a Pull,
    /// From where the client reads; none from the start.
    since: Option<u64>,
    until: u64,
    /// What the same request wrote: how many changes of each record, behind a position.
    own: &'a BTreeMap<DocumentId, u64>,
    own_behind: u64,
    showing: Showing<'a>,
}

impl Task<'_> {
    pub(crate) fn pull(&self, pull: &Pull) -> Result<Page, Failure> {
        self.check_device(pull.device.as_deref())?;
        self.list_late()?;
        let mark = self.access.mark()?;
        self.pull_until(pull, mark, &BTreeMap::new(), u64::MAX)
    }

    /// Writes first; the page leaves out what was just written, and nothing else.
    pub(crate) fn exchange(&self, push: &Push, pull: &Pull) -> Result<Outcome, Failure> {
        self.list_late()?;
        let before = self.access.mark()?;
        let (pushed, own) = self.push(push)?;
        let mark = self.access.mark()?;
        let page = self.pull_until(pull, mark, &own, before.position)?;
        Ok(Outcome::Exchanged { pushed, page })
    }

    /// The collections of which a caller who names none may see records.
    pub(crate) fn readable(&self) -> Vec<u16> {
        let Some(dialect) = self.dialect else {
            return self.access.collections().iter().map(|it| it.number).collect();
        };
        let mut readable = built_in(dialect);
        if !has_open_types(dialect) {
            return readable;
        }
        let own = self.access.collections().into_iter().filter(|it| it.number >= BUILT_IN_END);
        readable.extend(own.map(|it| it.number));
        readable.push(FREE_RECORD);
        readable
    }

    /// How many records that the caller's apps read stand behind a place of the feed.
    pub(crate) fn behind(&self, place: u64) -> Result<u64, Failure> {
        let mut count = 0;
        for collection in self.readable() {
            count += match (collection, self.dialect) {
                (FREE_RECORD, Some(_)) => self.free_behind(place)?,
                (BUILT_IN_END.., Some(_)) => {
                    self.access.behind(collection, place)? + self.late_behind(collection, place)?
                }
                _ => self.access.behind(collection, place)?,
            };
        }
        Ok(count)
    }

    /// The same of free records, of which those of other contracts do not count.
    fn free_behind(&self, mut place: u64) -> Result<u64, Failure> {
        let mut count = 0;
        loop {
            let found = self.access.feed(FREE_RECORD, place, u64::MAX, CHUNK)?;
            let Some((last, _)) = found.last() else { return Ok(count) };
            place = *last;
            for (_, id) in found {
                let held = self.access.held(id)?;
                count += u64::from(held.is_some_and(|held| self.is_of_contract(&held)));
            }
        }
    }

    fn pull_until(
        &self,
        pull: &Pull,
        mark: Mark,
        own: &BTreeMap<DocumentId, u64>,
        own_behind: u64,
    ) -> Result<Page, Failure> {
        let since = match pull.since {
            Since::Start => None,
            Since::Now => Some(mark.position),
            // The store was put back from an older copy since: what comes next would be missed.
            Since::Place(place) if place > mark.position => {
                let message = CursorError::Foreign.message();
                return Err(Failure::Refused(Refusal::fault("cursor", message)));
            }
            Since::Place(place) | Since::Sent(place) => Some(place),
            Since::Arrival(at) => Some(self.access.position_at(at)?),
        };
        let showing = Showing::new(*self, pull.device.as_deref())?;
        let seen = (since, own_behind, self.dialect, showing.words(), self.caller.role);
        // A client of a practice sees what is his own, and nobody else does so.
        let whose = Some(&self.caller.user).filter(|_| self.caller.role == Role::Client);
        let question = format!("{pull:?} {seen:?} {whose:?} {:?} {mark:?}", self.caller.practices);
        let question = *blake3::hash(question.as_bytes()).as_bytes();
        let stamp = self.access.stamp()?;
        let kept = self.pages.find(&question, stamp).filter(|_| own.is_empty());
        let page = match kept {
            Some(page) => page,
            None => {
                let page = self.read_page(pull, since, mark, (own, own_behind), showing)?;
                // What changed while it was read is none of this moment.
                if own.is_empty() && self.access.stamp()? == stamp {
                    self.pages.keep(question, stamp, &page);
                }
                page
            }
        };
        if let Some(device) = &pull.device {
            let is_sent = matches!(pull.since, Since::Now | Since::Sent(_));
            match self.moves_place(pull) {
                true if is_sent => self.note_sent(device, page.place, mark.at)?,
                true => self.note_read(device, since, page.place, mark.at)?,
                false => self.note_contact(device, !is_sent, mark.at)?,
            }
        }
        Ok(page)
    }

    /// Whether a page moves the place of the device that reads it. In wellpulse entries alone
    /// count: who reads wells has taken none, and who never reads any has none before him.
    fn moves_place(&self, pull: &Pull) -> bool {
        let is_entries = |wanted: &Wanted| {
            let entity = self.entity(&wanted.collection);
            entity.is_ok_and(|entity| entity.schema.number == FIELD_ENTRY)
        };
        let is_all = pull.wanted.is_empty();
        is_all || self.dialect != Some(Dialect::Wellpulse) || pull.wanted.iter().any(is_entries)
    }

    fn read_page(
        &self,
        pull: &Pull,
        since: Option<u64>,
        mark: Mark,
        (own, own_behind): (&BTreeMap<DocumentId, u64>, u64),
        showing: Showing<'_>,
    ) -> Result<Page, Failure> {
        let until = mark.position;
        let mut reading = Reading { task: *self, pull, since, until, own, own_behind, showing };
        reading.page(mark)
    }
}

impl<'a> Reading<'a> {
    fn page(&mut self, mark: Mark) -> Result<Page, Failure> {
        let mut lines = self.lines()?;
        let (mut items, mut size): (Vec<Item>, usize) = (Vec::new(), 0);
        let mut last: Option<u64> = None;
        let mut more = false;
        for scanned in 0.. {
            let Some(index) = self.next(&mut lines)? else { break };
            let line = &mut lines[index];
            let Some((position, id)) = line.ahead.front().copied() else { break };
            let is_full = scanned >= SCAN_MAX || self.is_full(items.len(), size, line);
            let is_split = last.is_some_and(|last| last >> LEAF_BITS == position >> LEAF_BITS);
            if is_full && !(self.pull.by_time && is_split && self.is_one_moment(&items)) {
                more = true;
                if self.pull.by_time && is_split {
                    // The whole millisecond is for the next page.
                    let cut = position >> LEAF_BITS << LEAF_BITS;
                    items.retain(|item| item.place < cut);
                    last = Some(cut - 1);
                }
                break;
            }
            line.ahead.pop_front();
            last = Some(position);
            if let Some(item) = self.item(line, position, id)? {
                line.taken += 1;
                size += record_size(&item.record);
                items.push(item);
            }
        }
        let mut moments = self.task.access.moments();
        for item in &mut items {
            item.record.arrived_at = moments.of(item.place)?;
        }
        let (place, until) = match last.filter(|_| more) {
            Some(last) => (last, moments.of(last)?),
            None => (mark.position.max(self.since.unwrap_or(0)), mark.at),
        };
        // A millisecond that goes on is not delivered.
        let goes_on = more && !self.pull.by_time;
        let until = if goes_on { until.plus_millis(-1) } else { until };
        let items = items.into_iter().map(Arc::new).collect();
        Ok(Page { items, place, until, more, at: mark.at })
    }

    fn lines(&self) -> Result<Vec<Line<'a>>, Failure> {
        let pull = self.pull;
        let mut lines = Vec::new();
        if pull.wanted.is_empty() {
            for number in self.task.readable() {
                self.add_lines(&mut lines, number, None, None)?;
            }
            return Ok(lines);
        }
        for wanted in &pull.wanted {
            let entity = self.task.entity(&wanted.collection).ok();
            // What came before the tenant defined a collection of that name, or is of a type that
            // other contracts have.
            let may_be_free = |it: &Entity| it.is_own() || self.task.is_foreign(it);
            let free = entity.as_ref().is_some_and(may_be_free);
            let free = free.then(|| self.task.free_kind(&wanted.collection).ok()).flatten();
            for entity in entity.into_iter().chain(free) {
                self.add_lines(&mut lines, entity.schema.number, Some(entity), Some(wanted))?;
            }
        }
        Ok(lines)
    }

    fn add_lines(
        &self,
        lines: &mut Vec<Line<'a>>,
        collection: u16,
        kind: Option<Entity>,
        wanted: Option<&'a Wanted>,
    ) -> Result<(), Failure> {
        let after = self.since.unwrap_or(0);
        let late = match self.task.dialect {
            Some(_) if collection >= BUILT_IN_END => Rc::new(self.task.late(collection, after)?),
            _ => Rc::default(),
        };
        let listed =
            late.places.iter().filter(|(place, _)| (after + 1..=self.until).contains(place));
        let listed: VecDeque<_> = listed.copied().collect();
        let feed = Line {
            collection,
            kind,
            wanted,
            origin: Origin::Feed(Rc::clone(&late)),
            ahead: VecDeque::new(),
            after,
            is_read: false,
            taken: 0,
        };
        if !listed.is_empty() {
            let origin = Origin::Listed(late);
            let kind = feed.kind.clone();
            lines.push(Line { origin, kind, ahead: listed, is_read: true, ..feed });
        }
        lines.push(feed);
        Ok(())
    }

    /// The line whose next record arrived first.
    fn next(&self, lines: &mut [Line<'_>]) -> Result<Option<usize>, Failure> {
        for line in lines.iter_mut().filter(|line| line.ahead.is_empty() && !line.is_read) {
            let (after, until) = (line.after, self.until);
            let found = self.task.access.feed(line.collection, after, until, CHUNK)?;
            line.is_read = found.len() < CHUNK;
            line.after = found.last().map_or(line.after, |(position, _)| *position);
            line.ahead.extend(found);
        }
        let heads = lines.iter().enumerate();
        let heads = heads.filter_map(|(index, line)| Some((line.ahead.front()?.0, index)));
        Ok(heads.min().map(|(_, index)| index))
    }

    fn is_full(&self, count: usize, size: usize, line: &Line<'_>) -> bool {
        let each = line.wanted.and_then(|wanted| wanted.records_max);
        self.pull.records_max.is_some_and(|most| count >= most)
            || self.pull.each_max.is_some_and(|most| line.taken >= most)
            || each.is_some_and(|most| line.taken >= most)
            || (size >= PAGE_SIZE_MAX && !self.pull.is_whole)
    }

    /// Whether all of the page is of one millisecond, which then has to be given out whole.
    fn is_one_moment(&self, items: &[Item]) -> bool {
        let mut places = items.iter().map(|item| item.place >> LEAF_BITS);
        let Some(first) = places.next() else { return false };
        places.all(|place| place == first)
    }

    fn item(
        &mut self,
        line: &Line<'_>,
        position: u64,
        id: DocumentId,
    ) -> Result<Option<Item>, Failure> {
        let access = self.task.access;
        let Some(held) = access.held(id)? else { return Ok(None) };
        let is_here = match &line.origin {
            Origin::Feed(late) => held.position == position && !late.holds(position, &id),
            Origin::Listed(late) => held.position <= late.until,
        };
        let is_of_line = line
            .kind
            .as_ref()
            .map_or_else(|| self.task.is_of_contract(&held), |kind| kind.holds(&held));
        if !is_of_line {
            return Ok(None);
        }
        // It has moved on while the page was read; it comes with its newest change.
        if !is_here || self.is_own(&held) {
            return Ok(None);
        }
        let since = self.since.unwrap_or(0);
        let is_listed = matches!(line.origin, Origin::Listed(_));
        let is_new = is_listed || held.arrived.first().is_none_or(|first| *first > since);
        let is_wanted = self.is_wanted(line, &held)?;
        let is_gone = held.deleted || !is_wanted;
        let happened = match (is_gone, is_new) {
            (true, _) if self.since.is_none() => return Ok(None),
            // A record that looks new may have been read long ago: a view that was made anew finds
            // what came first where its batch lies.
            (true, _) if is_wanted => Happened::Removed,
            (true, true) => return Ok(None),
            (true, false) => {
                let before = access.held_at(id, held.version_at(since))?;
                let was_wanted = match before.filter(|before| !before.deleted) {
                    Some(before) => self.is_wanted(line, &before)?,
                    None => false,
                };
                if !was_wanted {
                    return Ok(None);
                }
                Happened::Removed
            }
            (false, true) => Happened::Created,
            (false, false) => Happened::Updated,
        };
        let mut record = self.showing.record(&held, self.task.at, None)?;
        // Who asks for a type by its name is told that one.
        if let (Some(wanted), true) = (line.wanted, line.kind.as_ref().is_some_and(Entity::is_own))
        {
            record.collection.clone_from(&wanted.collection);
        }
        Ok(Some(Item::new(happened, position, record)))
    }

    /// Whether everything of a record that arrived since then was written by this request.
    fn is_own(&self, held: &Held) -> bool {
        let Some(own) = self.own.get(&held.id) else { return false };
        let since = self.own_behind.max(self.since.unwrap_or(0));
        let others = held
            .arrived
            .iter()
            .any(|arrived| *arrived > self.since.unwrap_or(0) && *arrived <= self.own_behind);
        let fresh = held.arrived.iter().filter(|arrived| **arrived > since).count() as u64;
        !others && fresh <= *own
    }

    fn is_wanted(&mut self, line: &Line<'_>, held: &Held) -> Result<bool, Failure> {
        let fields = &held.fields;
        if let Some(practice) = field(held, "practiceId").and_then(rights::practice)
            && self.pull.practice.is_some_and(|wanted| wanted != practice)
        {
            return Ok(false);
        }
        if !self.task.may_see(held, &mut self.showing)? {
            return Ok(false);
        }
        let conditions: &[Condition] = line.wanted.map_or(&[], |wanted| &wanted.conditions);
        if conditions.is_empty() {
            return Ok(true);
        }
        let holds =
            |fields: &Fields| conditions.iter().all(|one| one.test.holds(fields.get(&one.key)));
        if holds(fields) {
            return Ok(true);
        }
        // A condition about another record names it as the client does.
        let shown = self.showing.fields(line.collection, fields, None)?;
        Ok(holds(&shown))
    }
}
