//! The derive macros of Millstream.
//!
//! `#[derive(Record)]` makes a struct or enum a record: its fields in declared order. Attributes:
//! - `#[record(serde)]` on the type: one opaque value through its serde implementations;
//! - `#[record(alias = "old")]` on a field: the name it had in older state;
//! - `#[record(default)]`, `#[record(default = expression)]` on a field: its value in state that was written
//!   before it was added. An `Option` needs none: it is empty.
//!
//! `#[derive(KeyedState)]` makes a struct the state of a key: see `keyed_state`;
//! `#[derive(OperatorState)]` that of a subtask: see `operator_state`.

mod keyed_state;
mod operator_state;

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident, quote};
use syn::{
    Data, DeriveInput, Error, Expr, Fields, Ident, LitStr, Result, Token, parse_macro_input,
};

/// Derives `millstream::Record`.
#[proc_macro_derive(Record, attributes(record))]
pub fn derive_record(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    record(&input).unwrap_or_else(|error| error.to_compile_error()).into()
}

/// Derives `millstream::KeyedState`. Attributes of a field:
/// - `default = EXPRESSION`: what a plain field of a new key holds, instead of `Default`;
/// - `reduce = FUNCTION`: how a `ReducingState` joins two values;
/// - `ttl = "24 h"`: how long values live, with `update = "write"` (default) or `"read_write"`, and
///   `visibility = "never_return_expired"` (default) or `"return_expired_if_not_cleaned_up"`;
/// - `alias = "old"`: a name that the field had before.
#[proc_macro_derive(KeyedState, attributes(state))]
pub fn derive_keyed_state(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    keyed_state::derive(&input).unwrap_or_else(|error| error.to_compile_error()).into()
}

/// Derives `millstream::OperatorState`. A field may have had another name before: `alias = "old"`.
#[proc_macro_derive(OperatorState, attributes(state))]
pub fn derive_operator_state(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    operator_state::derive(&input).unwrap_or_else(|error| error.to_compile_error()).into()
}

/// What the attributes of a type or field say.
#[derive(Default)]
struct Attributes {
    serde: bool,
    aliases: Vec<String>,
    /// The expression of the default, if there is one.
    default: Option<TokenStream>,
}

fn attributes(attributes: &[syn::Attribute]) -> Result<Attributes> {
    let mut found = Attributes::default();
    for attribute in attributes.iter().filter(|a| a.path().is_ident("record")) {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("serde") {
                found.serde = true;
                Ok(())
            } else if meta.path.is_ident("alias") {
                found.aliases.push(meta.value()?.parse::<LitStr>()?.value());
                Ok(())
            } else if meta.path.is_ident("default") {
                let given = meta.input.peek(Token![=]);
                found.default = Some(if given {
                    meta.value()?.parse::<Expr>()?.into_token_stream()
                } else {
                    quote!(::core::default::Default::default())
                });
                Ok(())
            } else {
                Err(meta.error(
                    "unknown attribute: `serde`, `alias = \"...\"`, `default` and `default = ...` are known",
                ))
            }
        })?;
    }
    Ok(found)
}

/// The crate that the generated code names: the facade for users, the core for ourselves.
fn root() -> TokenStream {
    let here = std::env::var("CARGO_PKG_NAME").unwrap_or_default();
    let inside = here.starts_with("millstream-");
    if inside { quote!(::millstream_core) } else { quote!(::millstream::core) }
}

fn record(input: &DeriveInput) -> Result<TokenStream> {
    let root = root();
    let name = &input.ident;
    let parts = if attributes(&input.attrs)?.serde {
        through_serde(&root, name)
    } else {
        match &input.data {
            Data::Struct(data) => of_struct(&root, name, &data.fields)?,
            Data::Enum(data) => of_enum(&root, name, data)?,
            Data::Union(data) => {
                return Err(Error::new(data.union_token.span, "a union cannot be a record"));
            }
        }
    };
    let Parts { fixed, canonical, schema, encode, decode } = parts;
    let (impls, types, bounds) = input.generics.split_for_impl();
    let mut where_clause = bounds.cloned();
    for parameter in input.generics.type_params() {
        let parameter = &parameter.ident;
        let clause = where_clause.get_or_insert_with(|| syn::parse_quote!(where));
        clause.predicates.push(syn::parse_quote!(#parameter: #root::record::Record));
    }
    Ok(quote! {
        #[automatically_derived]
        impl #impls #root::record::Record for #name #types #where_clause {
            const FIXED: ::core::option::Option<usize> = #fixed;
            const CANONICAL: bool = #canonical;

            fn schema() -> #root::record::Schema {
                #schema
            }

            #[inline]
            fn encode<__O: #root::record::Output>(&self, out: &mut __O) {
                #encode
            }

            #[inline]
            fn decode(
                input: &mut #root::record::Input<'_>,
            ) -> ::core::result::Result<Self, #root::record::DecodeError> {
                #decode
            }
        }
    })
}

/// The bodies of the items of `impl Record`.
struct Parts {
    fixed: TokenStream,
    canonical: TokenStream,
    schema: TokenStream,
    encode: TokenStream,
    decode: TokenStream,
}

fn through_serde(root: &TokenStream, name: &Ident) -> Parts {
    let text = name.to_string();
    Parts {
        fixed: quote!(::core::option::Option::None),
        canonical: quote!(false),
        schema: quote!(#root::record::Schema::Foreign(#text.to_owned())),
        encode: quote!(#root::record::Serde::<Self>::encode_value(self, out)),
        decode: quote!(#root::record::Serde::<Self>::decode_value(input)),
    }
}

fn of_struct(root: &TokenStream, name: &Ident, fields: &Fields) -> Result<Parts> {
    let types: Vec<_> = fields.iter().map(|field| &field.ty).collect();
    let members: Vec<_> = fields.members().collect();
    let schema_fields = schema_of_fields(root, fields)?;
    let text = name.to_string();
    Ok(Parts {
        fixed: quote! {{
            let mut size = 0_usize;
            let mut fixed = true;
            #(match <#types as #root::record::Record>::FIXED {
                ::core::option::Option::Some(n) => size += n,
                ::core::option::Option::None => fixed = false,
            })*
            if fixed { ::core::option::Option::Some(size) } else { ::core::option::Option::None }
        }},
        canonical: quote!(true #(&& <#types as #root::record::Record>::CANONICAL)*),
        schema: quote! {
            #root::record::Schema::Struct { name: #text.to_owned(), fields: #schema_fields }
        },
        encode: quote! {
            #(#root::record::Record::encode(&self.#members, out);)*
            let _ = out;
        },
        decode: quote! {
            let _ = &input;
            ::core::result::Result::Ok(Self {
                #(#members: <#types as #root::record::Record>::decode(input)?,)*
            })
        },
    })
}

fn of_enum(root: &TokenStream, name: &Ident, data: &syn::DataEnum) -> Result<Parts> {
    if data.variants.is_empty() {
        return Err(Error::new(Span::call_site(), "an enum without variants cannot be a record"));
    }
    let text = name.to_string();
    let (mut canonical, mut schemas, mut encodes, mut decodes) = (vec![], vec![], vec![], vec![]);
    for (number, variant) in data.variants.iter().enumerate() {
        let number = number as u64;
        let (ident, variant_text) = (&variant.ident, variant.ident.to_string());
        let types: Vec<_> = variant.fields.iter().map(|field| &field.ty).collect();
        let members: Vec<_> = variant.fields.members().collect();
        let names: Vec<_> = (0..types.len()).map(|i| format_ident!("field_{i}")).collect();
        let fields = schema_of_fields(root, &variant.fields)?;
        canonical.push(quote!(true #(&& <#types as #root::record::Record>::CANONICAL)*));
        schemas.push(quote! {
            #root::record::Variant { name: #variant_text.to_owned(), fields: #fields }
        });
        encodes.push(quote! {
            Self::#ident { #(#members: #names),* } => {
                out.put_len(#number);
                #(#root::record::Record::encode(#names, out);)*
            }
        });
        decodes.push(quote! {
            #number => ::core::result::Result::Ok(Self::#ident {
                #(#members: <#types as #root::record::Record>::decode(input)?,)*
            }),
        });
    }
    Ok(Parts {
        fixed: quote!(::core::option::Option::None),
        canonical: quote!(#((#canonical))&&*),
        schema: quote! {
            #root::record::Schema::Enum { name: #text.to_owned(), variants: vec![#(#schemas),*] }
        },
        encode: quote!(match self { #(#encodes)* }),
        decode: quote! {
            match input.number()? {
                #(#decodes)*
                _ => ::core::result::Result::Err(#root::record::DecodeError::Invalid(#text)),
            }
        },
    })
}

fn schema_of_fields(root: &TokenStream, fields: &Fields) -> Result<TokenStream> {
    let mut schemas = Vec::new();
    for (field, member) in fields.iter().zip(fields.members()) {
        let name = match &member {
            syn::Member::Named(ident) => ident.to_string(),
            syn::Member::Unnamed(index) => index.index.to_string(),
        };
        let Attributes { aliases, default, .. } = attributes(&field.attrs)?;
        let ty = &field.ty;
        let default = match default {
            None => quote!(::core::option::Option::None),
            Some(value) => quote! {{
                let value: #ty = #value;
                let mut row = ::std::vec::Vec::new();
                #root::record::Record::encode(&value, &mut row);
                ::core::option::Option::Some(row)
            }},
        };
        schemas.push(quote! {
            #root::record::Field {
                name: #name.to_owned(),
                aliases: vec![#(#aliases.to_owned()),*],
                schema: <#ty as #root::record::Record>::schema(),
                default: #default,
            }
        });
    }
    Ok(quote!(vec![#(#schemas),*]))
}
