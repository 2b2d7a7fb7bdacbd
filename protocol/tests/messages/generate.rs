//! Bytes from the specification alone: an encoder of its own, so that the derived one is not checked by itself.

use bytes::{BufMut, BytesMut};
use strandline_protocol::spec::{DefaultValue, FieldSpec, MessageSpec, StructSpec, Type};

/// A small generator of numbers: the same seed gives the same bytes on every machine.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }
}

/// Where the values come from.
enum Source<'a> {
    Random(&'a mut Dice),
    Defaults,
}

/// A random body in this version, in the one way in which it may be encoded.
pub(crate) fn body(spec: &MessageSpec, version: i16, dice: &mut Dice) -> BytesMut {
    Encoder { version, flexible: spec.flexible.contains(version), source: Source::Random(dice) }.whole(spec.body)
}

/// The body that holds every default.
pub(crate) fn default_body(spec: &MessageSpec, version: i16) -> BytesMut {
    Encoder { version, flexible: spec.flexible.contains(version), source: Source::Defaults }.whole(spec.body)
}

struct Encoder<'a> {
    version: i16,
    flexible: bool,
    source: Source<'a>,
}

impl Encoder<'_> {
    fn whole(mut self, spec: &StructSpec) -> BytesMut {
        let mut out = BytesMut::new();
        self.fields(spec, &mut out);
        out
    }

    fn fields(&mut self, spec: &StructSpec, out: &mut BytesMut) {
        for field in spec.fields {
            if field.versions.contains(self.version) && !field.tagged.contains(self.version) {
                self.field(field, out);
            }
        }
        if self.flexible {
            self.tags(spec, out);
        }
    }

    fn tags(&mut self, spec: &StructSpec, out: &mut BytesMut) {
        let mut tagged: Vec<_> = spec.fields.iter().filter(|field| field.tagged.contains(self.version)).collect();
        tagged.sort_by_key(|field| field.tag);
        let mut written = Vec::new();
        for field in tagged {
            let (mut value, mut default) = (BytesMut::new(), BytesMut::new());
            self.field(field, &mut value);
            Encoder { version: self.version, flexible: true, source: Source::Defaults }.field(field, &mut default);
            if value != default {
                written.push((field.tag.expect("a tagged field has a tag"), value));
            }
        }
        varint(written.len() as u32, out);
        for (tag, value) in written {
            varint(tag, out);
            varint(value.len() as u32, out);
            out.put_slice(&value);
        }
    }

    fn field(&mut self, field: &FieldSpec, out: &mut BytesMut) {
        let outer = self.flexible;
        self.flexible = field.flexible.map_or(outer, |versions| versions.contains(self.version));
        let may_be_null = field.nullable.contains(self.version);
        let null = may_be_null
            && match &mut self.source {
                Source::Random(dice) => dice.one_in(3),
                Source::Defaults => field.default == DefaultValue::Null,
            };
        match field.kind {
            Type::Struct(spec) if may_be_null => {
                self.nullable_struct((!null).then_some(spec), field.tagged.contains(self.version), out)
            }
            kind if null => self.null(kind, out),
            kind => self.value(kind, field.default, out),
        }
        self.flexible = outer;
    }

    fn nullable_struct(&mut self, spec: Option<&StructSpec>, tagged: bool, out: &mut BytesMut) {
        match (spec, tagged) {
            (None, true) => out.put_u8(0),
            (None, false) => out.put_i8(-1),
            (Some(spec), _) => {
                out.put_u8(1);
                self.fields(spec, out);
            }
        }
    }

    fn null(&self, kind: Type, out: &mut BytesMut) {
        match kind {
            _ if self.flexible => out.put_u8(0),
            Type::String => out.put_i16(-1),
            _ => out.put_i32(-1),
        }
    }

    fn value(&mut self, kind: Type, default: DefaultValue, out: &mut BytesMut) {
        match kind {
            Type::Bool => out.put_u8(self.number(default, 2) as u8),
            Type::Int8 => out.put_i8(self.number(default, 0) as i8),
            Type::Int16 => out.put_i16(self.number(default, 0) as i16),
            Type::Uint16 => out.put_u16(self.number(default, 0) as u16),
            Type::Int32 => out.put_i32(self.number(default, 0) as i32),
            Type::Uint32 => out.put_u32(self.number(default, 0) as u32),
            Type::Int64 => out.put_i64(self.number(default, 0)),
            Type::Float64 => out.put_f64(self.number(default, 0) as f64 / 8.0),
            Type::Uuid => (0..2).for_each(|_| out.put_i64(self.number(DefaultValue::Zero, 0))),
            Type::String => {
                let text = self.text();
                self.length(text.len(), kind, out);
                out.put_slice(text.as_bytes());
            }
            Type::Bytes | Type::Records => {
                let bytes = self.text().into_bytes();
                self.length(bytes.len(), kind, out);
                out.put_slice(&bytes);
            }
            Type::Array(element) => {
                let count = self.pick(4);
                self.length(count, kind, out);
                (0..count).for_each(|_| self.value(*element, DefaultValue::Zero, out));
            }
            Type::Struct(spec) => self.fields(spec, out),
        }
    }

    fn pick(&mut self, bound: usize) -> usize {
        match &mut self.source {
            Source::Random(dice) => dice.below(bound),
            Source::Defaults => 0,
        }
    }

    fn number(&mut self, default: DefaultValue, bound: usize) -> i64 {
        let default = match default {
            DefaultValue::Zero | DefaultValue::Null => 0,
            DefaultValue::Bool(value) => value.into(),
            DefaultValue::Int(value) => value,
        };
        let Source::Random(dice) = &mut self.source else {
            return default;
        };
        let (keeps_default, bits) = (dice.one_in(4), dice.below(64));
        match bound {
            _ if keeps_default => default,
            0 => (dice.next() >> bits) as i64,
            bound => dice.below(bound) as i64,
        }
    }

    /// Short mostly, but now and then long enough for a length of two bytes.
    fn text(&mut self) -> String {
        let Source::Random(dice) = &mut self.source else {
            return String::new();
        };
        let length = if dice.one_in(12) { 120 + dice.below(40) } else { dice.below(8) };
        (0..length).map(|_| ['a', 'Z', '0', '-', 'é', '潮'][dice.below(6)]).collect()
    }

    fn length(&self, length: usize, kind: Type, out: &mut BytesMut) {
        match kind {
            _ if self.flexible => varint(length as u32 + 1, out),
            Type::String => out.put_i16(length as i16),
            _ => out.put_i32(length as i32),
        }
    }
}

fn varint(mut value: u32, out: &mut BytesMut) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}
