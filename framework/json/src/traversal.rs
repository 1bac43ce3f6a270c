//! One pass over the bytes of a record, along with a compiled schema. A traversal reads the record and shows it to visitors.

use std::ops::Range;

use crate::{
    cursor::{JsonCursor, Malformed, Text},
    schema::{CompiledSchema, NodeId, ROOT},
};

/// A visitor looks at a record while a traversal passes over it.
pub trait Visitor {
    /// Returns whether the visitor looks into an object or list that begins here. If not, it gets it as one [`Value`].
    fn enter(
        &mut self,
        place: &TraversalPosition<'_>,
        node: Option<NodeId>,
        is_object: bool,
    ) -> bool;

    /// Takes a name of the innermost object, whose value comes next. `name` is decoded where the schema knows the object
    /// and the escapes are valid.
    fn field(
        &mut self,
        place: &TraversalPosition<'_>,
        text: &Text,
        name: &[u8],
        node: Option<NodeId>,
    );

    /// Takes a value that the visitor does not look into.
    fn value(&mut self, place: &TraversalPosition<'_>, value: &Value);

    /// Takes the end of an object or list that the visitor looks into, which is no longer among the open ones.
    fn leave(&mut self, place: &TraversalPosition<'_>, frame: &Frame);

    /// Returns the point at which the traversal resumes after malformed text. A visitor that passes over a malformed value
    /// resumes behind it.
    fn resume(&mut self) -> Option<Resume> {
        None
    }
}

/// The position of a traversal.
#[derive(Debug)]
pub struct TraversalPosition<'t> {
    /// The schema of the record.
    pub schema: &'t CompiledSchema,
    /// The bytes of the record.
    pub record: &'t [u8],
    /// The objects and lists around, the innermost last.
    pub open: &'t [Frame],
    /// The offset of the next byte.
    pub at: usize,
}

/// An object or list that is open.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Its node in the schema.
    pub node: Option<NodeId>,
    /// Whether it is an object.
    pub is_object: bool,
    /// The spelling of the last field name, without its quotes.
    pub name: Range<usize>,
    /// The index of the last field, counted from one; zero at the beginning.
    after: usize,
    is_empty: bool,
}

/// A value that was read as a whole.
#[derive(Clone, Debug)]
pub struct Value {
    /// Its node in the schema.
    pub node: Option<NodeId>,
    /// Its range, with its quotes or brackets.
    pub span: Range<usize>,
    /// Its kind.
    pub kind: ValueKind,
}

/// The kind of a value, by its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// An object.
    Object,
    /// A list.
    List,
    /// A string, and whether a backslash is in it.
    Text {
        /// Whether a backslash is in it.
        has_escapes: bool,
    },
    /// A number, a truth value or null.
    Token,
}

impl ValueKind {
    const fn nested(is_object: bool) -> Self {
        if is_object { Self::Object } else { Self::List }
    }
}

/// The point at which a traversal resumes after malformed text: behind a value that began earlier.
#[derive(Clone, Copy, Debug)]
pub struct Resume {
    depth: usize,
    start: usize,
    node: Option<NodeId>,
    is_object: bool,
}

/// Traverses the records of one stream.
#[derive(Debug)]
pub struct Traversal {
    /// Reused from record to record for its memory only.
    open: Vec<Frame>,
    /// For the beginning and each field of each node, the field that came next the last time. Services keep the order of
    /// their fields, which saves most searches.
    followers: Vec<usize>,
}

impl Traversal {
    /// A traversal of records of this schema.
    pub fn new(schema: &CompiledSchema) -> Self {
        Self {
            open: Vec::new(),
            followers: schema.followers(),
        }
    }

    /// Shows a record to a visitor. Nesting is kept in a list and not on the stack of the program, so that its depth has
    /// no limit.
    ///
    /// # Errors
    ///
    /// Fails if the record is not JSON.
    pub fn run<V: Visitor>(
        &mut self,
        schema: &CompiledSchema,
        record: &[u8],
        visitor: &mut V,
    ) -> Result<(), Malformed> {
        self.open.clear();
        let mut steps = Steps {
            schema,
            cursor: JsonCursor::new(record),
            open: &mut self.open,
            followers: &mut self.followers,
            visitor,
        };
        steps.cursor.skip_space();
        let mut read = steps.value(Some(ROOT)).and_then(|()| steps.rest());
        while let Err(Malformed) = read {
            let resume = steps.visitor.resume().ok_or(Malformed)?;
            read = steps.pass_over(resume).and_then(|()| steps.rest());
        }
        read
    }
}

struct Steps<'a, V> {
    schema: &'a CompiledSchema,
    cursor: JsonCursor<'a>,
    open: &'a mut Vec<Frame>,
    followers: &'a mut [usize],
    visitor: &'a mut V,
}

/// Where the steps are, with the visitor that looks.
macro_rules! look {
    ($steps:ident) => {
        (
            &mut *$steps.visitor,
            TraversalPosition {
                schema: $steps.schema,
                record: $steps.cursor.input(),
                open: $steps.open,
                at: $steps.cursor.at(),
            },
        )
    };
}

impl<V: Visitor> Steps<'_, V> {
    /// Reads all that comes after a value, to the end of the record.
    fn rest(&mut self) -> Result<(), Malformed> {
        loop {
            self.cursor.skip_space();
            let Some(frame) = self.open.last_mut() else {
                return if self.cursor.is_at_end() {
                    Ok(())
                } else {
                    Err(Malformed)
                };
            };
            let end = if frame.is_object { b'}' } else { b']' };
            if self.cursor.peek()? == end {
                self.cursor.advance();
                self.leave();
                continue;
            }
            if !frame.is_empty {
                self.cursor.expect(b',')?;
                self.cursor.skip_space();
            }
            frame.is_empty = false;
            let node = frame.node;
            if frame.is_object {
                self.field(node)?;
            } else {
                self.value(node.and_then(|list| self.schema.items_of(list)))?;
            }
        }
    }

    /// Reads a field of the innermost object.
    fn field(&mut self, object: Option<NodeId>) -> Result<(), Malformed> {
        let text = self.cursor.name()?;
        let spelt = &self.cursor.input()[text.span.clone()];
        let decoded = match object {
            Some(_) if text.has_escapes => self.cursor.decode(&text),
            _ => None,
        };
        let name = decoded.as_ref().map_or(spelt, |decoded| decoded.as_bytes());
        let node = match (object, self.open.last_mut()) {
            (Some(object), Some(frame)) => {
                frame.name = text.span.clone();
                let follower = &mut self.followers[self.schema.followers_at(object) + frame.after];
                match self.schema.field(object, name, *follower) {
                    Ok(found) => {
                        *follower = found;
                        frame.after = found + 1;
                        self.schema.field_at(object, found)
                    }
                    Err(_) => self.schema.other_of(object),
                }
            }
            (None, Some(frame)) => {
                frame.name = text.span.clone();
                None
            }
            (_, None) => None,
        };
        let (visitor, place) = look!(self);
        visitor.field(&place, &text, name, node);
        self.value(node)
    }

    /// Reads a value, or opens it if the visitor looks into it.
    fn value(&mut self, node: Option<NodeId>) -> Result<(), Malformed> {
        let start = self.cursor.at();
        let (node, kind) = match self.cursor.peek()? {
            first @ (b'{' | b'[') => {
                let is_object = first == b'{';
                let node = match node {
                    Some(node) if is_object => Some(self.schema.object_at(node)),
                    other => other,
                };
                let (visitor, place) = look!(self);
                if visitor.enter(&place, node, is_object) {
                    self.cursor.advance();
                    self.open.push(Frame {
                        node,
                        is_object,
                        name: 0..0,
                        after: 0,
                        is_empty: true,
                    });
                    return Ok(());
                }
                self.cursor.skip_value()?;
                (node, ValueKind::nested(is_object))
            }
            b'"' => {
                let has_escapes = self.cursor.text()?.has_escapes;
                (node, ValueKind::Text { has_escapes })
            }
            _ => {
                self.cursor.token()?;
                (node, ValueKind::Token)
            }
        };
        self.show(node, start, kind);
        Ok(())
    }

    #[inline(always)]
    /// Shows a value that ends here.
    fn show(&mut self, node: Option<NodeId>, start: usize, kind: ValueKind) {
        let span = start..self.cursor.at();
        let (visitor, place) = look!(self);
        visitor.value(&place, &Value { node, span, kind });
    }

    #[inline(always)]
    fn leave(&mut self) {
        if let Some(frame) = self.open.pop() {
            let (visitor, place) = look!(self);
            visitor.leave(&place, &frame);
        }
    }

    fn pass_over(&mut self, resume: Resume) -> Result<(), Malformed> {
        self.open.truncate(resume.depth);
        self.cursor.seek(resume.start);
        self.cursor.skip_value()?;
        self.show(
            resume.node,
            resume.start,
            ValueKind::nested(resume.is_object),
        );
        Ok(())
    }
}

/// Two visitors of one pass. Each sees exactly what it would see alone: while one looks into a value that the other one
/// passes over, the other one waits for its end.
#[derive(Debug)]
pub struct Both<'v, A, B> {
    first: &'v mut A,
    second: &'v mut B,
    waiting: Option<WaitingSide>,
    /// The visitor that continues alone where the text is malformed for the other one.
    only: Option<Side>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    First,
    Second,
}

#[derive(Clone, Copy, Debug)]
struct WaitingSide {
    who: Side,
    until: Resume,
}

impl<'v, A: Visitor, B: Visitor> Both<'v, A, B> {
    /// Combines two visitors.
    pub const fn new(first: &'v mut A, second: &'v mut B) -> Self {
        Self {
            first,
            second,
            waiting: None,
            only: None,
        }
    }

    /// Splits the result of a traversal into the results of both visitors.
    pub fn results(
        &self,
        read: Result<(), Malformed>,
    ) -> (Result<(), Malformed>, Result<(), Malformed>) {
        match self.only {
            None => (read, read),
            Some(Side::First) => (read, Err(Malformed)),
            Some(Side::Second) => (Err(Malformed), read),
        }
    }

    /// Whether a visitor looks at what comes next.
    #[inline]
    fn looks(&self, who: Side) -> bool {
        self.only.is_none_or(|only| only == who)
            && self.waiting.is_none_or(|waiting| waiting.who != who)
    }
}

impl<A: Visitor, B: Visitor> Visitor for Both<'_, A, B> {
    #[inline]
    fn enter(
        &mut self,
        place: &TraversalPosition<'_>,
        node: Option<NodeId>,
        is_object: bool,
    ) -> bool {
        let looks = (self.looks(Side::First), self.looks(Side::Second));
        let first = looks.0 && self.first.enter(place, node, is_object);
        let second = looks.1 && self.second.enter(place, node, is_object);
        if looks == (true, true) && first != second {
            let who = if first { Side::Second } else { Side::First };
            let until = Resume {
                depth: place.open.len(),
                start: place.at,
                node,
                is_object,
            };
            self.waiting = Some(WaitingSide { who, until });
        }
        first || second
    }

    #[inline]
    fn field(
        &mut self,
        place: &TraversalPosition<'_>,
        text: &Text,
        name: &[u8],
        node: Option<NodeId>,
    ) {
        if self.looks(Side::First) {
            self.first.field(place, text, name, node);
        }
        if self.looks(Side::Second) {
            self.second.field(place, text, name, node);
        }
    }

    #[inline]
    fn value(&mut self, place: &TraversalPosition<'_>, value: &Value) {
        if self.looks(Side::First) {
            self.first.value(place, value);
        }
        if self.looks(Side::Second) {
            self.second.value(place, value);
        }
    }

    #[inline]
    fn leave(&mut self, place: &TraversalPosition<'_>, frame: &Frame) {
        if self.looks(Side::First) {
            self.first.leave(place, frame);
        }
        if self.looks(Side::Second) {
            self.second.leave(place, frame);
        }
        if let Some(WaitingSide { who, until }) = self.waiting
            && until.depth == place.open.len()
        {
            self.waiting = None;
            let value = Value {
                node: until.node,
                span: until.start..place.at,
                kind: ValueKind::nested(until.is_object),
            };
            match who {
                Side::First => self.first.value(place, &value),
                Side::Second => self.second.value(place, &value),
            }
        }
    }

    fn resume(&mut self) -> Option<Resume> {
        let WaitingSide { who, until } = self.waiting.take()?;
        self.only = Some(who);
        Some(until)
    }
}
