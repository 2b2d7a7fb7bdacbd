//! The attributes, parsed: what a struct and its fields say about themselves.

use syn::{
    Attribute, Data, DeriveInput, Expr, ExprLit, ExprRange, ExprUnary, Field, Fields, Ident, Lit, RangeLimits, Type, UnOp,
    meta::ParseNestedMeta,
};

/// An inclusive range of versions; the ends are those of `spec::Versions`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) first: i16,
    pub(crate) last: i16,
}

pub(crate) const ALL: Range = Range { first: 0, last: i16::MAX };
pub(crate) const NONE: Range = Range { first: 0, last: -1 };

/// What makes a struct a top-level definition.
pub(crate) struct TopLevel {
    pub(crate) kind: Ident,
    pub(crate) key: Option<i16>,
    pub(crate) versions: Range,
    pub(crate) flexible: Range,
}

pub(crate) struct Struct {
    pub(crate) ident: Ident,
    pub(crate) name: String,
    pub(crate) top: Option<TopLevel>,
    pub(crate) fields: Vec<WireField>,
}

pub(crate) enum DefaultValue {
    Zero,
    Null,
    Bool(bool),
    Int(i64),
}

pub(crate) struct WireField {
    pub(crate) ident: Ident,
    pub(crate) ty: Type,
    pub(crate) name: String,
    pub(crate) versions: Range,
    pub(crate) nullable: Range,
    pub(crate) tag: Option<u32>,
    pub(crate) tagged: Range,
    pub(crate) flexible: Option<Range>,
    pub(crate) default: DefaultValue,
    pub(crate) ignorable: bool,
}

impl Struct {
    pub(crate) fn parse(input: &DeriveInput) -> syn::Result<Self> {
        let Data::Struct(data) = &input.data else {
            return Err(syn::Error::new_spanned(input, "only a struct has a wire format"));
        };
        let Fields::Named(fields) = &data.fields else {
            return Err(syn::Error::new_spanned(input, "fields need names"));
        };
        let (name, top) = parse_struct(&input.ident, &input.attrs)?;
        let fields = fields.named.iter().map(WireField::parse).collect::<syn::Result<_>>()?;
        Ok(Self { ident: input.ident.clone(), name, top, fields })
    }

    /// The tagged fields by ascending tag, each with its place in the struct.
    pub(crate) fn tagged(&self) -> Vec<(usize, u32, &WireField)> {
        let mut tagged: Vec<_> =
            self.fields.iter().enumerate().filter_map(|(at, field)| field.tag.map(|tag| (at, tag, field))).collect();
        tagged.sort_by_key(|(_, tag, _)| *tag);
        tagged
    }
}

fn parse_struct(ident: &Ident, attributes: &[Attribute]) -> syn::Result<(String, Option<TopLevel>)> {
    let (mut name, mut kind, mut key, mut versions, mut flexible) = (ident.to_string(), None, None, None, None);
    parse_attributes(attributes, |meta| {
        match word(meta)?.as_str() {
            "name" => name = string(meta)?,
            "kind" => kind = Some(kind_variant(meta)?),
            "key" => key = Some(integer(meta)? as i16),
            "versions" => versions = Some(range(meta)?),
            "flexible" => flexible = Some(range(meta)?),
            _ => return Err(meta.error("unknown attribute of a struct")),
        }
        Ok(())
    })?;
    let top = match (kind, versions, flexible) {
        (Some(kind), Some(versions), Some(flexible)) => Some(TopLevel { kind, key, versions, flexible }),
        (None, None, None) => None,
        _ => {
            return Err(syn::Error::new_spanned(ident, "a top-level definition needs kind, versions and flexible"));
        }
    };
    Ok((name, top))
}

impl WireField {
    fn parse(field: &Field) -> syn::Result<Self> {
        let ident = field.ident.clone().ok_or_else(|| syn::Error::new_spanned(field, "fields need names"))?;
        let mut parsed = Self {
            name: upper_camel(&ident.to_string()),
            ident,
            ty: field.ty.clone(),
            versions: ALL,
            nullable: NONE,
            tag: None,
            tagged: NONE,
            flexible: None,
            default: DefaultValue::Zero,
            ignorable: false,
        };
        let mut tagged = None;
        parse_attributes(&field.attrs, |meta| {
            match word(meta)?.as_str() {
                "name" => parsed.name = string(meta)?,
                "versions" => parsed.versions = range(meta)?,
                "nullable" => parsed.nullable = if meta.input.peek(syn::Token![=]) { range(meta)? } else { ALL },
                "tag" => parsed.tag = Some(integer(meta)? as u32),
                "tagged" => tagged = Some(range(meta)?),
                "flexible" => parsed.flexible = Some(range(meta)?),
                "default" => parsed.default = default_value(meta)?,
                "ignorable" => parsed.ignorable = true,
                _ => return Err(meta.error("unknown attribute of a field")),
            }
            Ok(())
        })?;
        if parsed.tag.is_some() {
            parsed.tagged = tagged.unwrap_or(parsed.versions);
        }
        parsed.check()?;
        Ok(parsed)
    }

    fn check(&self) -> syn::Result<()> {
        if self.is_option() != (self.nullable != NONE) {
            return Err(syn::Error::new_spanned(&self.ident, "a nullable field is an Option, and only that is"));
        }
        Ok(())
    }

    pub(crate) fn is_option(&self) -> bool {
        matches!(&self.ty, Type::Path(path) if path.path.segments.last().is_some_and(|last| last.ident == "Option"))
    }
}

fn parse_attributes(attributes: &[Attribute], mut take: impl FnMut(&ParseNestedMeta) -> syn::Result<()>) -> syn::Result<()> {
    attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("wire"))
        .try_for_each(|attribute| attribute.parse_nested_meta(|meta| take(&meta)))
}

fn word(meta: &ParseNestedMeta) -> syn::Result<String> {
    meta.path.get_ident().map(Ident::to_string).ok_or_else(|| meta.error("expected a word"))
}

fn string(meta: &ParseNestedMeta) -> syn::Result<String> {
    Ok(meta.value()?.parse::<syn::LitStr>()?.value())
}

fn kind_variant(meta: &ParseNestedMeta) -> syn::Result<Ident> {
    let text = string(meta)?;
    match text.as_str() {
        "request" | "response" | "header" | "data" | "metadata" | "coordinator-key" | "coordinator-value" => Ok(Ident::new(
            &upper_camel(&text.replace('-', "_")),
            meta.path.get_ident().map_or_else(proc_macro2::Span::call_site, Ident::span),
        )),
        _ => Err(meta.error("unknown kind")),
    }
}

fn integer(meta: &ParseNestedMeta) -> syn::Result<i64> {
    integer_of(&meta.value()?.parse()?)
}

fn integer_of(expression: &Expr) -> syn::Result<i64> {
    match expression {
        Expr::Lit(ExprLit { lit: Lit::Int(literal), .. }) => literal.base10_parse(),
        // The smallest value has no positive counterpart, so the sign is parsed with the digits.
        Expr::Unary(ExprUnary { op: UnOp::Neg(_), expr, .. }) => match &**expr {
            Expr::Lit(ExprLit { lit: Lit::Int(literal), .. }) => {
                format!("-{}", literal.base10_digits()).parse().map_err(|error| syn::Error::new_spanned(literal, error))
            }
            other => Err(syn::Error::new_spanned(other, "expected an integer")),
        },
        other => Err(syn::Error::new_spanned(other, "expected an integer")),
    }
}

fn default_value(meta: &ParseNestedMeta) -> syn::Result<DefaultValue> {
    match meta.value()?.parse::<Expr>()? {
        Expr::Path(path) if path.path.is_ident("null") => Ok(DefaultValue::Null),
        Expr::Lit(ExprLit { lit: Lit::Bool(literal), .. }) => Ok(DefaultValue::Bool(literal.value)),
        other => integer_of(&other).map(DefaultValue::Int),
    }
}

fn range(meta: &ParseNestedMeta) -> syn::Result<Range> {
    match meta.value()?.parse::<Expr>()? {
        Expr::Path(path) if path.path.is_ident("none") => Ok(NONE),
        Expr::Range(ExprRange { start, end, limits, .. }) => {
            if end.is_some() && matches!(limits, RangeLimits::HalfOpen(_)) {
                return Err(meta.error("ranges of versions include their end: use ..="));
            }
            let bound = |bound: &Option<Box<Expr>>, open: i16| {
                bound.as_deref().map_or(Ok(open), |bound| integer_of(bound).map(|value| value as i16))
            };
            Ok(Range { first: bound(&start, 0)?, last: bound(&end, i16::MAX)? })
        }
        other => integer_of(&other).map(|version| Range { first: version as i16, last: version as i16 }),
    }
}

/// Kafka's name of a field, in most cases: `topic_data` is `TopicData`.
fn upper_camel(snake: &str) -> String {
    snake
        .split('_')
        .filter_map(|word| word.chars().next().map(|first| (first, word)))
        .map(|(first, word)| format!("{}{}", first.to_ascii_uppercase(), &word[first.len_utf8()..]))
        .collect()
}
