//! The operations that fieldmesh writes, and what each may refer to.
//!
//! Values and objects stand in the root map; an object is a list or a text of scalars. Whatever
//! else Automerge knows (nested maps, tables, counters, marks) is refused: nothing here writes it,
//! and most of the ways to make Automerge fail lie there.

use std::collections::{BTreeMap, BTreeSet};

use automerge::legacy::{ElementId, Key, ObjectId, Op, OpId, OpType};
use automerge::{ActorId, ExpandedChange, ObjType, ScalarValue};
use fieldmesh_model::input::KEY_SIZE_MAX;

/// What is wrong with an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormError {
    /// It is of a kind that this version does not know.
    #[error("operation {index} is of an unknown kind")]
    UnknownKind {
        /// Its number in the change, from 0.
        index: usize,
    },
    /// It stands in an object that the change does not build on, or at an element that is not
    /// there.
    #[error("operation {index} is in a place that its author cannot have seen")]
    UnknownPlace {
        /// Its number in the change, from 0.
        index: usize,
    },
    /// It replaces an operation that the change does not build on or that stands elsewhere.
    #[error("operation {index} replaces one that its author cannot have seen")]
    UnknownPredecessor {
        /// Its number in the change, from 0.
        index: usize,
    },
    /// The key of a field is empty, too long or holds control characters.
    #[error("operation {index} has a key that no field can have")]
    BadKey {
        /// Its number in the change, from 0.
        index: usize,
    },
}

/// An operation: its number and the index of its actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Id {
    counter: u64,
    actor: usize,
}

/// Where a value stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// Under a key of the root map, by its index.
    Field(usize),
    /// At an element of an object.
    Element { object: Id, element: Id },
}

/// The operations of a change and of all that it builds on.
#[derive(Debug, Default)]
pub(crate) struct Operations {
    actors: Vec<ActorId>,
    keys: BTreeMap<String, usize>,
    /// The objects, by the operation that made them.
    objects: BTreeMap<Id, ObjType>,
    /// What earlier changes wrote, by their actors and first numbers.
    earlier: BTreeMap<(usize, u64), Places>,
    /// What the change writes that is being read.
    current: Places,
}

/// Where the operations of one change stand, which are numbered without a gap; `None` is one that
/// cannot be replaced.
#[derive(Debug, Default)]
struct Places {
    actor: usize,
    start: u64,
    places: Vec<Option<Place>>,
}

impl Places {
    fn get(&self, id: Id) -> Option<&Place> {
        let index = id.counter.checked_sub(self.start).filter(|_| id.actor == self.actor)?;
        self.places.get(usize::try_from(index).ok()?)?.as_ref()
    }
}

impl Operations {
    /// Adds a change that was accepted before.
    pub(super) fn add_accepted(&mut self, change: &ExpandedChange) {
        // Its form was judged then.
        let actor = self.begin(change);
        for (operation, counter) in change.operations.iter().zip(change.start_op.get()..) {
            let id = Id { counter, actor };
            let place = self.place(operation, id, 0).ok();
            self.remember(operation, id, place);
        }
    }

    /// Checks the operations of a change, in order, and adds them.
    pub(crate) fn add(&mut self, change: &ExpandedChange) -> Result<(), FormError> {
        let actor = self.begin(change);
        let mut written: BTreeMap<Place, Id> = BTreeMap::new();
        let operations = change.operations.iter().zip(change.start_op.get()..);
        for (index, (operation, counter)) in operations.enumerate() {
            let id = Id { counter, actor };
            check_kind(operation, index)?;
            let place = self.place(operation, id, index)?;
            self.check_predecessors(operation, place, written.get(&place), index)?;
            if !operation.insert {
                written.insert(place, id);
            }
            self.remember(operation, id, Some(place));
        }
        Ok(())
    }

    /// Has the operations of a change follow; gives the index of its actor.
    fn begin(&mut self, change: &ExpandedChange) -> usize {
        let (actor, start) = (self.actor(&change.actor_id), change.start_op.get());
        let places = Vec::with_capacity(change.operations.len());
        let before = std::mem::replace(&mut self.current, Places { actor, start, places });
        if !before.places.is_empty() {
            self.earlier.insert((before.actor, before.start), before);
        }
        actor
    }

    fn remember(&mut self, operation: &Op, id: Id, place: Option<Place>) {
        if let (OpType::Make(kind), Some(_)) = (&operation.action, place) {
            self.objects.insert(id, *kind);
        }
        // Nothing takes the place of a deletion.
        let is_deletion = matches!(operation.action, OpType::Delete);
        self.current.places.push(place.filter(|_| !is_deletion));
    }

    /// The place of an operation that can be replaced.
    fn place_of(&self, id: Id) -> Option<&Place> {
        self.current.get(id).or_else(|| {
            let before = self.earlier.range(..=(id.actor, id.counter)).next_back();
            before.and_then(|(_, places)| places.get(id))
        })
    }

    fn place(&mut self, operation: &Op, id: Id, index: usize) -> Result<Place, FormError> {
        match (&operation.obj, &operation.key) {
            (ObjectId::Root, Key::Map(key)) => {
                let is_bad =
                    key.is_empty() || key.len() > KEY_SIZE_MAX || key.chars().any(char::is_control);
                if is_bad || operation.insert {
                    return Err(FormError::BadKey { index });
                }
                Ok(Place::Field(self.key(key)))
            }
            (ObjectId::Id(object), Key::Seq(element)) => self
                .element(operation, object, element, id)
                .ok_or(FormError::UnknownPlace { index }),
            (ObjectId::Root, Key::Seq(_)) | (ObjectId::Id(_), Key::Map(_)) => {
                Err(FormError::UnknownPlace { index })
            }
        }
    }

    // `None` where its author cannot have seen the object or the element.
    fn element(&self, operation: &Op, object: &OpId, element: &ElementId, id: Id) -> Option<Place> {
        let object = self.find(object)?;
        let is_text = *self.objects.get(&object)? == ObjType::Text;
        let is_character = matches!(operation.action, OpType::Put(ScalarValue::Str(_)));
        if is_text && !is_character && operation.action != OpType::Delete {
            return None;
        }
        let element = match element {
            ElementId::Head if operation.insert => {
                return Some(Place::Element { object, element: id });
            }
            ElementId::Head => return None,
            ElementId::Id(element) => self.find(element)?,
        };
        // What is replaced, or what an insertion follows, was inserted into the same object.
        let place = Place::Element { object, element };
        if self.place_of(element) != Some(&place) {
            return None;
        }
        Some(if operation.insert { Place::Element { object, element: id } } else { place })
    }

    fn check_predecessors(
        &self,
        operation: &Op,
        place: Place,
        earlier: Option<&Id>,
        index: usize,
    ) -> Result<(), FormError> {
        let error = FormError::UnknownPredecessor { index };
        let mut named = BTreeSet::new();
        for predecessor in operation.pred.iter() {
            let id = self.find(predecessor).ok_or(error)?;
            if self.place_of(id) != Some(&place) || !named.insert(id) {
                return Err(error);
            }
        }
        if operation.insert {
            return if named.is_empty() { Ok(()) } else { Err(error) };
        }
        // One change leaves one value in a place, and only what is there can be taken away.
        let leaves_two = earlier.is_some_and(|id| !named.contains(id));
        let is_element = matches!(place, Place::Element { .. });
        if leaves_two || (named.is_empty() && is_element) {
            return Err(error);
        }
        Ok(())
    }

    fn actor(&mut self, actor: &ActorId) -> usize {
        self.actors.iter().position(|known| known == actor).unwrap_or_else(|| {
            self.actors.push(actor.clone());
            self.actors.len() - 1
        })
    }

    fn find(&self, id: &OpId) -> Option<Id> {
        let actor = self.actors.iter().position(|known| known == id.actor())?;
        Some(Id { counter: id.counter(), actor })
    }

    fn key(&mut self, key: &str) -> usize {
        if let Some(index) = self.keys.get(key) {
            return *index;
        }
        let index = self.keys.len();
        self.keys.insert(key.to_owned(), index);
        index
    }
}

/// Whether all that a change does is to give fields a scalar value.
pub(super) fn is_plain(change: &ExpandedChange) -> bool {
    change.operations.iter().all(|operation| {
        operation.obj == ObjectId::Root && matches!(operation.action, OpType::Put(_))
    })
}

fn check_kind(operation: &Op, index: usize) -> Result<(), FormError> {
    let is_root = operation.obj == ObjectId::Root;
    let is_known = match &operation.action {
        OpType::Make(kind) => is_root && matches!(kind, ObjType::List | ObjType::Text),
        // A field is cleared by a null, which competes with other values; a deletion would not.
        OpType::Delete => !is_root && !operation.insert,
        OpType::Put(value) => {
            !matches!(value, ScalarValue::Counter(_) | ScalarValue::Unknown { .. })
        }
        OpType::Increment(_) | OpType::MarkBegin(_) | OpType::MarkEnd(_) => false,
    };
    if is_known { Ok(()) } else { Err(FormError::UnknownKind { index }) }
}
