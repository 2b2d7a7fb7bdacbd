//! The code that a struct is turned into. Its shape is flat calls of `Field`, so that two thousand fields compile in seconds.

use proc_macro2::{Literal, TokenStream};
use quote::{format_ident, quote};
use syn::DeriveInput;

use crate::attributes::{ALL, DefaultValue, Range, Struct, TopLevel, WireField};

pub(crate) fn expand(input: &DeriveInput) -> syn::Result<TokenStream> {
    let parsed = Struct::parse(input)?;
    let (default, wire, message) = (default(&parsed), wire(&parsed), parsed.top.as_ref().map(|top| message(&parsed, top)));
    Ok(quote! { #default #wire #message })
}

fn default(parsed: &Struct) -> TokenStream {
    let ident = &parsed.ident;
    let fields = parsed.fields.iter().map(|field| {
        let (name, value) = (&field.ident, default_expression(field));
        quote! { #name: #value }
    });
    quote! {
        impl ::core::default::Default for #ident {
            fn default() -> Self {
                Self { #(#fields),* }
            }
        }
    }
}

fn default_expression(field: &WireField) -> TokenStream {
    let value = match &field.default {
        DefaultValue::Null => return quote! { ::core::option::Option::None },
        DefaultValue::Zero if field.is_option() => quote! { ::core::default::Default::default() },
        DefaultValue::Zero => {
            let ty = &field.ty;
            quote! { <#ty as ::core::default::Default>::default() }
        }
        DefaultValue::Bool(value) => quote! { #value },
        DefaultValue::Int(value) => number(field, *value),
    };
    if field.is_option() {
        quote! { ::core::option::Option::Some(#value) }
    } else {
        value
    }
}

/// A literal for a primitive type, the constructor of a newtype for any other.
fn number(field: &WireField, value: i64) -> TokenStream {
    let (literal, ty) = (Literal::i64_unsuffixed(value), &field.ty);
    match quote! { #ty }.to_string().as_str() {
        "i8" | "i16" | "u16" | "i32" | "u32" | "i64" => quote! { #literal },
        _ => quote! { #ty(#literal) },
    }
}

fn wire(parsed: &Struct) -> TokenStream {
    let (ident, name) = (&parsed.ident, &parsed.name);
    let specs = parsed.fields.iter().map(spec);
    let (read, write) = (fill(parsed), write_fields(parsed));
    let least = parsed.fields.iter().filter(|field| field.versions == ALL && field.tag.is_none()).map(|field| {
        let ty = &field.ty;
        quote! { + <#ty as crate::wire::Field>::MIN_BYTES }
    });
    quote! {
        impl crate::wire::Wire for #ident {
            const SPEC: &'static crate::spec::StructSpec = &crate::spec::StructSpec { name: #name, fields: &[#(#specs),*] };
            const MIN_BYTES: usize = {
                let least = 0 #(#least)*;
                if least == 0 { 1 } else { least }
            };
            fn fill(
                &mut self,
                at: &mut usize,
                reader: &mut crate::wire::Reader,
                format: crate::wire::Format,
            ) -> ::core::result::Result<(), crate::wire::WireError> {
                #read
            }
            fn write_fields(&self, writer: &mut crate::wire::Writer, format: crate::wire::Format) {
                #write
            }
        }
    }
}

fn message(parsed: &Struct, top: &TopLevel) -> TokenStream {
    let (ident, kind) = (&parsed.ident, &top.kind);
    let (versions, flexible) = (versions(top.versions), versions(top.flexible));
    let key = match top.key {
        Some(key) => quote! { ::core::option::Option::Some(#key) },
        None => quote! { ::core::option::Option::None },
    };
    quote! {
        impl crate::wire::Message for #ident {
            const KIND: crate::spec::Kind = crate::spec::Kind::#kind;
            const KEY: ::core::option::Option<i16> = #key;
            const VERSIONS: crate::spec::Versions = #versions;
            const FLEXIBLE: crate::spec::Versions = #flexible;
        }
    }
}

fn versions(range: Range) -> TokenStream {
    let Range { first, last } = range;
    quote! { crate::spec::Versions::new(#first, #last) }
}

fn spec(field: &WireField) -> TokenStream {
    let WireField { ident, ty, name, tag, ignorable, .. } = field;
    let field_name = ident.to_string();
    let (present, nullable, tagged) = (versions(field.versions), versions(field.nullable), versions(field.tagged));
    let tag = optional(tag.map(|tag| quote! { #tag }));
    let flexible = optional(field.flexible.map(versions));
    let default = match &field.default {
        DefaultValue::Zero => quote! { Zero },
        DefaultValue::Null => quote! { Null },
        DefaultValue::Bool(value) => quote! { Bool(#value) },
        DefaultValue::Int(value) => quote! { Int(#value) },
    };
    quote! {
        crate::spec::FieldSpec {
            name: #name,
            field: #field_name,
            kind: <#ty as crate::wire::Field>::TYPE,
            entity: <#ty as crate::wire::Field>::ENTITY,
            versions: #present,
            nullable: #nullable,
            tag: #tag,
            tagged: #tagged,
            flexible: #flexible,
            default: crate::spec::DefaultValue::#default,
            ignorable: #ignorable,
        }
    }
}

fn optional(value: Option<TokenStream>) -> TokenStream {
    match value {
        Some(value) => quote! { ::core::option::Option::Some(#value) },
        None => quote! { ::core::option::Option::None },
    }
}

/// The test whether a version is in the range; nothing for a range that holds every version.
fn condition(range: Range) -> Option<TokenStream> {
    let Range { first, last } = range;
    match (first > 0, last < i16::MAX) {
        (false, false) => None,
        (true, false) => Some(quote! { format.version >= #first }),
        (false, true) => Some(quote! { format.version <= #last }),
        (true, true) => Some(quote! { (#first..=#last).contains(&format.version) }),
    }
}

/// Where the field stands in the order of the fields: in its versions, except where it is tagged.
fn untagged_condition(field: &WireField) -> Option<TokenStream> {
    let mut last = field.versions.last;
    if field.tag.is_some() {
        last = field.tagged.first - 1;
    }
    condition(Range { last, ..field.versions })
}

/// Whether the field is among the tagged ones in every version that it has.
fn always_tagged(field: &WireField) -> bool {
    field.tag.is_some() && field.tagged.first <= field.versions.first
}

fn format(field: &WireField) -> TokenStream {
    let flexible = field.flexible.map(|range| {
        let inside = condition(range).unwrap_or(quote! { true });
        quote! { .flexible(#inside) }
    });
    let nullable = field.is_option().then(|| {
        let inside = condition(field.nullable).unwrap_or(quote! { true });
        quote! { .nullable(#inside) }
    });
    quote! { format #nullable #flexible }
}

fn fill(parsed: &Struct) -> TokenStream {
    let fields = parsed.fields.iter().enumerate().filter(|(_, field)| !always_tagged(field)).map(|(at, field)| {
        let (ident, format) = (&field.ident, format(field));
        let read = quote! { self.#ident = crate::wire::Field::read(reader, #format)?; };
        match untagged_condition(field) {
            Some(inside) => quote! { if #inside { *at = #at; #read } },
            None => quote! { *at = #at; #read },
        }
    });
    let (end, known) = (parsed.fields.len(), parsed.tagged());
    let arms = known.iter().map(|(at, tag, field)| {
        let (ident, format) = (&field.ident, format(field));
        let guard = condition(field.tagged).map(|inside| quote! { if #inside });
        quote! { #tag #guard => { *at = #at; self.#ident = crate::wire::Field::read(reader, #format.tagged())?; } }
    });
    let tags = if known.is_empty() {
        quote! { reader.tags(|_, _| ::core::result::Result::Ok(false))?; }
    } else {
        quote! {
            reader.tags(|reader, tag| {
                match tag {
                    #(#arms)*
                    _ => return ::core::result::Result::Ok(false),
                }
                ::core::result::Result::Ok(true)
            })?;
        }
    };
    quote! {
        #(#fields)*
        if format.flexible {
            *at = #end;
            #tags
        }
        ::core::result::Result::Ok(())
    }
}

fn write_fields(parsed: &Struct) -> TokenStream {
    let fields = parsed.fields.iter().filter(|field| !always_tagged(field)).map(|field| {
        let (ident, format) = (&field.ident, format(field));
        let write = quote! { crate::wire::Field::write(&self.#ident, writer, #format); };
        match untagged_condition(field) {
            Some(inside) => quote! { if #inside { #write } },
            None => write,
        }
    });
    let known = parsed.tagged();
    let shown: Vec<_> = known.iter().map(|(_, tag, _)| format_ident!("shows_{}", tag)).collect();
    let shows = known.iter().zip(&shown).map(|((_, _, field), shows)| {
        let (ident, default) = (&field.ident, default_expression(field));
        let inside = condition(field.tagged).map(|inside| quote! { #inside && });
        quote! { let #shows = #inside self.#ident != #default; }
    });
    let values = known.iter().zip(&shown).map(|((_, tag, field), shows)| {
        let (ident, format) = (&field.ident, format(field));
        quote! { if #shows { writer.put_tag(#tag, |writer| crate::wire::Field::write(&self.#ident, writer, #format.tagged())); } }
    });
    quote! {
        #(#fields)*
        if format.flexible {
            #(#shows)*
            writer.put_unsigned_varint(0 #(+ u32::from(#shown))*);
            #(#values)*
        }
    }
}
