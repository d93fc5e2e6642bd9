//! Writes edits into a transaction.
//!
//! Every write leaves one value under its key. Automerge turns a put of the value that already
//! wins into a deletion of the others, which a concurrent edit would hide, so such a put is
//! preceded by another value and becomes a write of its own.

use automerge::transaction::Transactable;
use automerge::{AutomergeError, ObjId, ObjType, ROOT, ReadDoc, ScalarValue};
use fieldmesh_model::schema::{Collection, MergePolicy};
use fieldmesh_model::{DocumentId, Edit, Moment, UserId, Value};
use uuid::Uuid;

use crate::kinship::rejoin;
use crate::{keys, part, scalar};

pub(crate) type Transaction<'a> = automerge::transaction::Transaction<'a>;

/// How many operations the transaction holds.
pub(crate) fn pending(transaction: &Transaction<'_>) -> usize {
    Transactable::pending_ops(transaction)
}

/// Writes one edit.
pub(crate) fn write(
    transaction: &mut Transaction<'_>,
    collection: &Collection,
    actor: &[u8; 16],
    edit: &Edit,
) -> Result<(), AutomergeError> {
    let is_written = match collection.policy(edit.key()) {
        MergePolicy::Sum => write_sum(transaction, collection, actor, edit)?,
        MergePolicy::Union => write_set(transaction, collection, edit)?,
        _ => false,
    };
    if is_written {
        return Ok(());
    }
    match edit {
        Edit::Set { key, value: Value::List(items) } => set_list(transaction, key, items),
        Edit::Set { key, value: Value::Text(text) }
            if collection.policy(key) == MergePolicy::Text =>
        {
            set_text(transaction, key, text)
        }
        Edit::Set { key, value: Value::Null } | Edit::Clear { key } => clear(transaction, key),
        Edit::Set { key, value } => put(transaction, key, value),
        Edit::Append { key, item } => append(transaction, key, item),
        Edit::RemoveItem { key, item } => remove_item(transaction, key, item),
        Edit::Add { key, amount } => {
            let current = match transaction.get(ROOT, key)? {
                Some((automerge::Value::Scalar(value), _)) => scalar::from_scalar(&value),
                _ => Value::Int(0),
            };
            put(transaction, key, &current.plus(amount).unwrap_or_else(|| amount.clone()))
        }
    }
}

// Whatever is asked for becomes an addition, so that what others add meanwhile counts too. False
// where no number is written.
fn write_sum(
    transaction: &mut Transaction<'_>,
    collection: &Collection,
    actor: &[u8; 16],
    edit: &Edit,
) -> Result<bool, AutomergeError> {
    let key = edit.key();
    let total = part::read(transaction, collection, key)?;
    // A count that is nought has been made; one that is absent has not.
    let is_made = total != Value::Null;
    let total = if is_made { total } else { Value::Int(0) };
    let to = |wanted: &Value| wanted.plus(&negative(&total)?);
    let amount = match edit {
        Edit::Add { amount, .. } => Some(amount.clone()),
        Edit::Set { value: Value::Null, .. } | Edit::Clear { .. } => to(&Value::Int(0)),
        Edit::Set { value, .. } => to(value),
        Edit::Append { .. } | Edit::RemoveItem { .. } => None,
    };
    let share_key = part::share_key(key, actor);
    let own = match transaction.get(ROOT, &share_key)? {
        Some((automerge::Value::Scalar(value), _)) => scalar::from_scalar(&value),
        _ => Value::Null,
    };
    let counts = part::is_part(collection, &share_key, &own);
    let own = if counts { own } else { Value::Int(0) };
    let Some(share) = amount.and_then(|amount| own.plus(&amount)) else { return Ok(false) };
    let is_cleared = matches!(edit, Edit::Set { value: Value::Null, .. } | Edit::Clear { .. });
    if !share.is_same(&own) || !(is_made || is_cleared) {
        put(transaction, &share_key, &share)?;
    }
    Ok(true)
}

// Each item stands under a key of its own: one that replaces a whole list would hide what others
// add to that list meanwhile. False where no item is written.
fn write_set(
    transaction: &mut Transaction<'_>,
    collection: &Collection,
    edit: &Edit,
) -> Result<bool, AutomergeError> {
    let key = edit.key();
    let current = match part::read(transaction, collection, key)? {
        Value::List(items) => items,
        _ => Vec::new(),
    };
    let has = |list: &[Value], item: &Value| list.iter().any(|one| one.is_same(item));
    let wanted = match edit {
        Edit::Append { item, .. } => [&current[..], std::slice::from_ref(item)].concat(),
        Edit::RemoveItem { item, .. } => {
            current.iter().filter(|one| !one.is_same(item)).cloned().collect()
        }
        Edit::Set { value: Value::List(items), .. } => items.clone(),
        Edit::Set { value: Value::Null, .. } | Edit::Clear { .. } => Vec::new(),
        Edit::Set { value, .. } => vec![value.clone()],
        Edit::Add { .. } => return Ok(false),
    };
    for item in current.iter().filter(|item| !has(&wanted, item)) {
        let item_key = part::item_key(key, item);
        if transaction.get(ROOT, &item_key)?.is_some() {
            force(transaction, &item_key, ScalarValue::Null)?;
        }
        // What was written before the field became a set.
        if transaction.get(ROOT, key)?.is_some() {
            remove_item(transaction, key, item)?;
        }
    }
    for item in wanted.iter().filter(|item| !has(&current, item)) {
        force(transaction, &part::item_key(key, item), scalar::to_scalar(item))?;
    }
    Ok(true)
}

fn negative(number: &Value) -> Option<Value> {
    match number {
        Value::Int(whole) => whole.checked_neg().map(Value::Int),
        number => number.as_number().map(|number| Value::from(-number)),
    }
}

/// Writes a tombstone.
pub(crate) fn delete(
    transaction: &mut Transaction<'_>,
    at: Moment,
    user: UserId,
    superseded_by: Option<DocumentId>,
) -> Result<(), AutomergeError> {
    force(transaction, keys::DELETED_AT, ScalarValue::Timestamp(at.as_millis()))?;
    force(transaction, keys::DELETED_BY, ScalarValue::Bytes(user.as_bytes().to_vec()))?;
    match superseded_by {
        Some(other) => {
            // Whoever puts one in the place of the other knows that both were meant, if so.
            rejoin(transaction, other)?;
            force(transaction, keys::SUPERSEDED_BY, ScalarValue::Bytes(other.as_bytes().to_vec()))
        }
        None => Ok(()),
    }
}

/// Says in whose name the change is made.
pub(crate) fn sign_for(
    transaction: &mut Transaction<'_>,
    user: &str,
) -> Result<(), AutomergeError> {
    force(transaction, keys::EDITED_FOR, ScalarValue::Str(user.into()))
}

/// Says that the change settles these items of the inbox, each with the records that it is about
/// where these are several.
pub(crate) fn settle(
    transaction: &mut Transaction<'_>,
    items: &[(Uuid, Vec<DocumentId>)],
) -> Result<(), AutomergeError> {
    items.iter().try_for_each(|(item, records)| {
        let said = match records.is_empty() {
            true => true.into(),
            false => ScalarValue::Bytes(records.iter().flat_map(|id| *id.as_bytes()).collect()),
        };
        force(transaction, &keys::settled(item), said)
    })
}

/// Says something under a key of its own.
pub(crate) fn say(
    transaction: &mut Transaction<'_>,
    key: &str,
    text: ScalarValue,
) -> Result<(), AutomergeError> {
    if transaction.get(ROOT, key)?.is_some() {
        return Ok(());
    }
    transaction.put(ROOT, key, text)
}

/// Takes the tombstone away.
pub(crate) fn restore(transaction: &mut Transaction<'_>) -> Result<(), AutomergeError> {
    for key in [keys::DELETED_AT, keys::DELETED_BY, keys::SUPERSEDED_BY] {
        if transaction.get(ROOT, key)?.is_some() {
            force(transaction, key, ScalarValue::Null)?;
        }
    }
    Ok(())
}

/// What stands under a key.
enum Standing {
    Nothing,
    One(automerge::Value<'static>, ObjId),
    Several,
}

fn standing(transaction: &Transaction<'_>, key: &str) -> Result<Standing, AutomergeError> {
    let mut values = transaction.get_all(ROOT, key)?;
    Ok(match values.len() {
        0 => Standing::Nothing,
        1 => values
            .pop()
            .map_or(Standing::Nothing, |(value, id)| Standing::One(value.to_owned(), id)),
        _ => Standing::Several,
    })
}

// A new write, whatever stands there.
pub(crate) fn force(
    transaction: &mut Transaction<'_>,
    key: &str,
    value: ScalarValue,
) -> Result<(), AutomergeError> {
    if let Some((automerge::Value::Scalar(winner), _)) = transaction.get(ROOT, key)?
        && *winner == value
    {
        let other = match value {
            ScalarValue::Null => ScalarValue::Boolean(false),
            _ => ScalarValue::Null,
        };
        transaction.put(ROOT, key, other)?;
    }
    transaction.put(ROOT, key, value)
}

fn put(transaction: &mut Transaction<'_>, key: &str, value: &Value) -> Result<(), AutomergeError> {
    if let Standing::One(automerge::Value::Scalar(current), _) = standing(transaction, key)?
        && scalar::from_scalar(&current).is_same(value)
    {
        return Ok(());
    }
    force(transaction, key, scalar::to_scalar(value))
}

// Emptying a text or a list keeps what others add to it at the same time.
fn clear(transaction: &mut Transaction<'_>, key: &str) -> Result<(), AutomergeError> {
    match standing(transaction, key)? {
        Standing::Nothing => Ok(()),
        Standing::One(automerge::Value::Object(ObjType::Text), id) => {
            transaction.update_text(&id, "")
        }
        Standing::One(automerge::Value::Object(ObjType::List), id) => {
            let length = transaction.length(&id);
            splice(transaction, &id, 0, length, &[])
        }
        Standing::One(automerge::Value::Scalar(current), _) if current.is_null() => Ok(()),
        Standing::One(..) | Standing::Several => force(transaction, key, ScalarValue::Null),
    }
}

fn set_text(
    transaction: &mut Transaction<'_>,
    key: &str,
    text: &str,
) -> Result<(), AutomergeError> {
    match standing(transaction, key)? {
        Standing::One(automerge::Value::Object(ObjType::Text), id) => {
            transaction.update_text(&id, text)
        }
        Standing::One(automerge::Value::Scalar(current), _)
            if scalar::from_scalar(&current).as_text() == Some(text) =>
        {
            Ok(())
        }
        Standing::Nothing | Standing::One(..) | Standing::Several => {
            let id = transaction.put_object(ROOT, key, ObjType::Text)?;
            transaction.splice_text(&id, 0, 0, text)
        }
    }
}

fn set_list(
    transaction: &mut Transaction<'_>,
    key: &str,
    items: &[Value],
) -> Result<(), AutomergeError> {
    let Standing::One(automerge::Value::Object(ObjType::List), id) = standing(transaction, key)?
    else {
        return if items.is_empty() {
            clear(transaction, key)
        } else {
            new_list(transaction, key, items)
        };
    };
    let current = read_list(transaction, &id);
    let is_same = |(ours, theirs): &(&Value, &Value)| ours.is_same(theirs);
    let head = current.iter().zip(items).take_while(is_same).count();
    let tail = current[head..].iter().rev().zip(items[head..].iter().rev());
    let tail = tail.take_while(is_same).count();
    let removed = current.len() - head - tail;
    splice(transaction, &id, head, removed, &items[head..items.len() - tail])
}

fn append(
    transaction: &mut Transaction<'_>,
    key: &str,
    item: &Value,
) -> Result<(), AutomergeError> {
    if let Standing::One(automerge::Value::Object(ObjType::List), id) = standing(transaction, key)?
    {
        let end = transaction.length(&id);
        return splice(transaction, &id, end, 0, std::slice::from_ref(item));
    }
    let mut items = all_items(transaction, key)?;
    items.push(item.clone());
    new_list(transaction, key, &items)
}

fn remove_item(
    transaction: &mut Transaction<'_>,
    key: &str,
    item: &Value,
) -> Result<(), AutomergeError> {
    if let Standing::One(automerge::Value::Object(ObjType::List), id) = standing(transaction, key)?
    {
        let current = read_list(transaction, &id);
        for (index, _) in current.iter().enumerate().rev().filter(|(_, one)| one.is_same(item)) {
            splice(transaction, &id, index, 1, &[])?;
        }
        return Ok(());
    }
    let mut items = all_items(transaction, key)?;
    let before = items.len();
    items.retain(|one| !one.is_same(item));
    if items.len() == before { Ok(()) } else { new_list(transaction, key, &items) }
}

// The items of all concurrent lists: appending to lists that compete loses none of their items.
fn all_items(transaction: &Transaction<'_>, key: &str) -> Result<Vec<Value>, AutomergeError> {
    let mut items: Vec<Value> = Vec::new();
    for (value, id) in transaction.get_all(ROOT, key)?.into_iter().rev() {
        let more = match value {
            automerge::Value::Object(ObjType::List) => read_list(transaction, &id),
            automerge::Value::Scalar(single) => vec![scalar::from_scalar(&single)],
            automerge::Value::Object(_) => Vec::new(),
        };
        for item in more {
            if item != Value::Null && !items.iter().any(|one| one.is_same(&item)) {
                items.push(item);
            }
        }
    }
    Ok(items)
}

fn new_list(
    transaction: &mut Transaction<'_>,
    key: &str,
    items: &[Value],
) -> Result<(), AutomergeError> {
    let id = transaction.put_object(ROOT, key, ObjType::List)?;
    splice(transaction, &id, 0, 0, items)
}

fn splice(
    transaction: &mut Transaction<'_>,
    list: &ObjId,
    at: usize,
    removed: usize,
    items: &[Value],
) -> Result<(), AutomergeError> {
    if removed == 0 && items.is_empty() {
        return Ok(());
    }
    let removed = isize::try_from(removed).unwrap_or(isize::MAX);
    transaction.splice(list, at, removed, items.iter().map(scalar::to_scalar))
}

/// The items of a list; what is no scalar is null.
pub(crate) fn read_list(document: &impl ReadDoc, list: &ObjId) -> Vec<Value> {
    document
        .list_range(list, ..)
        .map(|item| match item.value {
            automerge::ValueRef::Scalar(scalar) => scalar::from_scalar_ref(&scalar),
            automerge::ValueRef::Object(_) => Value::Null,
        })
        .collect()
}
