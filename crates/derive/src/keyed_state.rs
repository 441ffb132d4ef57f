//! `#[derive(KeyedState)]`: the row of a state struct, and how its fields get in and out of it.
//!
//! The row is a struct of its own with what each field stores, in declared order, and behind it the
//! time of a field that expires. Names of its schema are those of the fields; fields that keep rows of
//! their own are in the Rust struct, as nothing, and not in the schema.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Error, Expr, Field, Fields, Ident, LitStr, Result, Type};

/// What the attributes of a field say.
#[derive(Default)]
struct Attributes {
    default: Option<Expr>,
    reduce: Option<Expr>,
    aliases: Vec<String>,
    ttl: Option<i64>,
    update: Option<Ident>,
    visibility: Option<Ident>,
}

/// One field with all that is generated for it.
struct StateField<'a> {
    ident: &'a Ident,
    ty: &'a Type,
    attributes: Attributes,
    /// The name of its time in the row, if it expires.
    stamp: Option<Ident>,
}

/// The crates that the generated code names: the facade for users, our own for ourselves.
struct Roots {
    core: TokenStream,
    state: TokenStream,
}

fn roots() -> Roots {
    let here = std::env::var("CARGO_PKG_NAME").unwrap_or_default();
    if here.starts_with("millstream-") {
        Roots { core: quote!(::millstream_core), state: quote!(::millstream_state::keyed_state) }
    } else {
        Roots { core: quote!(::millstream::core), state: quote!(::millstream::state) }
    }
}

pub(crate) fn derive(input: &DeriveInput) -> Result<TokenStream> {
    let Data::Struct(data) = &input.data else {
        return Err(Error::new(input.ident.span(), "state is declared as a struct"));
    };
    if !input.generics.params.is_empty() {
        let message = "a state struct has no parameters: its rows are a permanent format";
        return Err(Error::new(input.generics.span(), message));
    }
    let fields: Vec<&Field> = match &data.fields {
        Fields::Named(named) => named.named.iter().collect(),
        Fields::Unit => Vec::new(),
        Fields::Unnamed(_) => {
            let message = "fields of a state struct need names: they name the state";
            return Err(Error::new(data.fields.span(), message));
        }
    };
    let fields = fields.into_iter().map(StateField::new).collect::<Result<Vec<_>>>()?;
    Ok(generate(&input.ident, &fields, &roots()))
}

fn generate(name: &Ident, fields: &[StateField<'_>], roots: &Roots) -> TokenStream {
    let state = &roots.state;
    let row = row(name, fields, roots);
    let types: Vec<_> = fields.iter().map(|field| field.ty).collect();
    let idents: Vec<_> = fields.iter().map(|field| field.ident).collect();
    let opens = fields.iter().map(|field| field.open(state));
    let new_rows = fields.iter().map(|field| field.new_row(state));
    let begins = fields.iter().map(|field| field.begin(state));
    let ends = fields.iter().map(|field| field.end(state));
    let expires = fields.iter().map(|field| field.expire(state));
    let resets = fields.iter().map(|field| field.reset(state));
    let expiring = fields.iter().filter(|field| field.stamp.is_some()).map(|field| field.ty);
    quote! {
        #[doc(hidden)]
        #[allow(non_camel_case_types, non_snake_case, missing_docs, unreachable_pub, clippy::all)]
        const _: () = {
            #row

            #[automatically_derived]
            impl #state::KeyedState for #name {
                type Row = Row;

                const HAS_ROW: bool = false #(|| <#types as #state::StateField>::IN_ROW)*;
                const HAS_TABLES: bool = false #(|| !<#types as #state::StateField>::IN_ROW)*;
                const ROW_EXPIRES: bool =
                    false #(|| <#expiring as #state::StateField>::IN_ROW)*;

                fn open<__K: #state::Key>(
                    scope: &::std::rc::Rc<#state::CallScope<__K>>,
                ) -> Self {
                    let _ = scope;
                    Self { #(#idents: #opens,)* }
                }

                fn new_row() -> Row {
                    Row { #(#new_rows,)* }
                }

                #[inline(always)]
                fn begin(&mut self, row: &mut Row, now: i64) {
                    let _ = (&row, now);
                    #(#begins)*
                }

                #[inline(always)]
                fn end(&mut self, row: &mut Row, now: i64) {
                    let _ = (&row, now);
                    #(#ends)*
                }

                #[inline(always)]
                fn is_absent(row: &Row) -> bool {
                    let _ = row;
                    true #(&& <#types as #state::StateField>::is_absent(&row.#idents))*
                }

                fn expire(row: &mut Row, now: i64) {
                    let _ = (&row, now);
                    #(#expires)*
                }

                fn reset(&mut self) {
                    #(#resets)*
                }

                fn tables(
                    &mut self,
                    visit: &mut dyn ::core::ops::FnMut(&mut dyn #state::StateTable),
                ) {
                    let _ = &visit;
                    #(if let ::core::option::Option::Some(table) =
                        <#types as #state::StateField>::table(&mut self.#idents)
                    {
                        visit(table);
                    })*
                }
            }
        };
    }
}

/// The struct of what is stored, with its codec.
fn row(name: &Ident, fields: &[StateField<'_>], Roots { core, state }: &Roots) -> TokenStream {
    let mut members = Vec::new();
    let mut types = Vec::new();
    let mut schemas = Vec::new();
    for field in fields {
        let (ident, ty) = (field.ident, field.ty);
        let text = field.name();
        let aliases = &field.attributes.aliases;
        // A field that was added has, in older state, what it has for a new key.
        let mut add = |member: &Ident, stored, default, text: &str, aliases: &[String]| {
            schemas.push(quote! {
                if <#ty as #state::StateField>::IN_ROW {
                    fields.push(#core::record::Field {
                        name: #text.to_owned(),
                        aliases: vec![#(#aliases.to_owned()),*],
                        schema: <#stored as #core::record::Record>::schema(),
                        default: {
                            let value: #stored = #default;
                            let mut row = ::std::vec::Vec::new();
                            #core::record::Record::encode(&value, &mut row);
                            ::core::option::Option::Some(row)
                        },
                    });
                }
            });
            members.push(member.clone());
            types.push(stored);
        };
        let stored = quote!(<#ty as #state::StateField>::Stored);
        add(ident, stored, field.stored_of_new_key(state), &text, aliases);
        if let Some(stamp) = &field.stamp {
            let of = |name: &String| format!("{name}.written_at");
            let aliases: Vec<String> = aliases.iter().map(of).collect();
            let stored = quote!(<#ty as #state::StateField>::Stamp);
            let default = quote!(<#ty as #state::StateField>::no_stamp());
            add(stamp, stored, default, &of(&text), &aliases);
        }
    }
    let name = name.to_string();
    quote! {
        #[derive(::core::clone::Clone)]
        pub struct Row { #(#members: #types,)* }

        #[automatically_derived]
        impl #core::record::Record for Row {
            const FIXED: ::core::option::Option<usize> = {
                let mut size = 0_usize;
                let mut fixed = true;
                #(match <#types as #core::record::Record>::FIXED {
                    ::core::option::Option::Some(n) => size += n,
                    ::core::option::Option::None => fixed = false,
                })*
                if fixed {
                    ::core::option::Option::Some(size)
                } else {
                    ::core::option::Option::None
                }
            };
            const CANONICAL: bool = true #(&& <#types as #core::record::Record>::CANONICAL)*;

            fn schema() -> #core::record::Schema {
                let mut fields = ::std::vec::Vec::new();
                #(#schemas)*
                #core::record::Schema::Struct { name: #name.to_owned(), fields }
            }

            #[inline]
            fn encode<__O: #core::record::Output>(&self, out: &mut __O) {
                #(#core::record::Record::encode(&self.#members, out);)*
                let _ = out;
            }

            #[inline]
            fn decode(
                input: &mut #core::record::Input<'_>,
            ) -> ::core::result::Result<Self, #core::record::DecodeError> {
                let _ = &input;
                ::core::result::Result::Ok(Self {
                    #(#members: <#types as #core::record::Record>::decode(input)?,)*
                })
            }
        }
    }
}

impl<'a> StateField<'a> {
    fn new(field: &'a Field) -> Result<Self> {
        let ident = field.ident.as_ref().expect("the field is named");
        let attributes = attributes(field)?;
        let stamp = attributes.ttl.map(|_| format_ident!("{ident}_written_at"));
        Ok(Self { ident, ty: &field.ty, attributes, stamp })
    }

    /// A raw identifier is called what it would be called otherwise.
    fn name(&self) -> String {
        let name = self.ident.to_string();
        name.strip_prefix("r#").map_or(name.clone(), str::to_owned)
    }

    fn open(&self, state: &TokenStream) -> TokenStream {
        let (ty, spec) = (self.ty, self.spec(state));
        let check = self.stamp.as_ref().map(|_| {
            let message = format!(
                "field `{}`: only ValueState, ReducingState, AggregatingState, ListState and \
                 MapState can have a ttl",
                self.name()
            );
            quote_spanned!(ty.span()=>
                const { assert!(<#ty as #state::StateField>::MAY_EXPIRE, #message) };)
        });
        let open = match (&self.attributes.default, &self.attributes.reduce) {
            (Some(default), _) => quote!(#default),
            (None, Some(reduce)) => quote!(<#ty>::open(#spec, #reduce)),
            (None, None) => {
                quote_spanned!(ty.span()=> <#ty as #state::DefaultField>::open(#spec, scope))
            }
        };
        quote!({ #check #open })
    }

    fn spec(&self, state: &TokenStream) -> TokenStream {
        let (name, aliases) = (self.name(), &self.attributes.aliases);
        let ttl = self.ttl(state);
        let ttl = match ttl {
            Some(ttl) => quote!(::core::option::Option::Some(#ttl)),
            None => quote!(::core::option::Option::None),
        };
        quote!(#state::FieldSpec { name: #name, aliases: &[#(#aliases),*], ttl: #ttl })
    }

    fn ttl(&self, state: &TokenStream) -> Option<TokenStream> {
        let millis = self.attributes.ttl?;
        let update = self.attributes.update.clone();
        let update = update.unwrap_or_else(|| format_ident!("Write"));
        let visibility = self.attributes.visibility.clone();
        let visibility = visibility.unwrap_or_else(|| format_ident!("NeverReturnExpired"));
        Some(quote!(#state::Ttl {
            millis: #millis,
            update: #state::TtlUpdate::#update,
            visibility: #state::TtlVisibility::#visibility,
        }))
    }

    /// What is stored of it for a new key.
    fn stored_of_new_key(&self, state: &TokenStream) -> TokenStream {
        let ty = self.ty;
        match (&self.attributes.default, &self.attributes.reduce) {
            (Some(default), _) => quote!(#default),
            (None, Some(_)) => quote!(::core::option::Option::None),
            (None, None) => quote!(<#ty as #state::DefaultField>::default_stored()),
        }
    }

    fn new_row(&self, state: &TokenStream) -> TokenStream {
        let (ident, ty) = (self.ident, self.ty);
        let stored = self.stored_of_new_key(state);
        let stamp = self.stamp.as_ref();
        let stamp = stamp.map(|stamp| quote!(, #stamp: <#ty as #state::StateField>::no_stamp()));
        quote!(#ident: #stored #stamp)
    }

    fn begin(&self, state: &TokenStream) -> TokenStream {
        let (ident, ty) = (self.ident, self.ty);
        let begin = self.stamp.as_ref().map(
            |stamp| quote!(<#ty as #state::StateField>::begin(&mut self.#ident, &row.#stamp, now);),
        );
        quote!(<#ty as #state::StateField>::swap(&mut self.#ident, &mut row.#ident); #begin)
    }

    fn end(&self, state: &TokenStream) -> TokenStream {
        let (ident, ty) = (self.ident, self.ty);
        let end = self.stamp.as_ref().map(|stamp| {
            quote!(<#ty as #state::StateField>::end(&mut self.#ident, &mut row.#stamp, now);)
        });
        quote!(#end <#ty as #state::StateField>::swap(&mut self.#ident, &mut row.#ident);)
    }

    fn expire(&self, state: &TokenStream) -> Option<TokenStream> {
        let (ident, ty, stamp) = (self.ident, self.ty, self.stamp.as_ref()?);
        let ttl = self.ttl(state)?;
        Some(quote!(
            <#ty as #state::StateField>::expire(
                &mut row.#ident, &mut row.#stamp, &#ttl, now,
            );
        ))
    }

    fn reset(&self, state: &TokenStream) -> TokenStream {
        let (ident, ty) = (self.ident, self.ty);
        match (&self.attributes.default, &self.attributes.reduce) {
            (Some(default), _) => quote!(self.#ident = #default;),
            (None, Some(_)) => quote!(self.#ident.clear();),
            (None, None) => quote!(<#ty as #state::DefaultField>::reset(&mut self.#ident);),
        }
    }
}

fn attributes(field: &Field) -> Result<Attributes> {
    let mut found = Attributes::default();
    for attribute in field.attrs.iter().filter(|a| a.path().is_ident("state")) {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("default") {
                found.default = Some(meta.value()?.parse()?);
            } else if meta.path.is_ident("reduce") {
                found.reduce = Some(meta.value()?.parse()?);
            } else if meta.path.is_ident("alias") {
                found.aliases.push(meta.value()?.parse::<LitStr>()?.value());
            } else if meta.path.is_ident("ttl") {
                found.ttl = Some(duration(&meta.value()?.parse()?)?);
            } else if meta.path.is_ident("update") {
                let known = [("write", "Write"), ("read_write", "ReadWrite")];
                found.update = Some(choice(&meta.value()?.parse()?, &known)?);
            } else if meta.path.is_ident("visibility") {
                let known = [
                    ("never_return_expired", "NeverReturnExpired"),
                    ("return_expired_if_not_cleaned_up", "ReturnExpiredIfNotCleanedUp"),
                ];
                found.visibility = Some(choice(&meta.value()?.parse()?, &known)?);
            } else {
                return Err(meta.error(
                    "unknown attribute: `default`, `reduce`, `alias`, `ttl`, `update` and \
                     `visibility` are known",
                ));
            }
            Ok(())
        })?;
    }
    check(field, &found)?;
    Ok(found)
}

fn check(field: &Field, found: &Attributes) -> Result<()> {
    let refuse = |message| Err(Error::new(field.span(), message));
    if found.ttl.is_none() && (found.update.is_some() || found.visibility.is_some()) {
        return refuse("`update` and `visibility` say something of a `ttl`, which is missing");
    }
    if found.default.is_some() && found.reduce.is_some() {
        return refuse("a field that reduces begins with its first value: it has no default");
    }
    Ok(())
}

/// The variant for one of the known words.
fn choice(text: &LitStr, known: &[(&str, &str)]) -> Result<Ident> {
    let found = known.iter().find(|(word, _)| *word == text.value());
    found.map(|(_, variant)| format_ident!("{variant}")).ok_or_else(|| {
        let words: Vec<String> = known.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        Error::new(text.span(), format!("expected one of {}", words.join(", ")))
    })
}

/// Milliseconds of a duration, written as in the configuration: `"500 ms"`, `"10s"`, `"24 h"`.
fn duration(text: &LitStr) -> Result<i64> {
    let refuse =
        || Error::new(text.span(), "expected a duration such as `10 s`, `5 min` or `24 h`");
    let value = text.value();
    let digits = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    let (number, unit) = value.split_at(digits);
    let factor = match unit.trim() {
        "ms" => 1,
        "s" => 1_000,
        "min" | "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(refuse()),
    };
    let number: i64 = number.parse().map_err(|_| refuse())?;
    number.checked_mul(factor).filter(|millis| *millis > 0).ok_or_else(refuse)
}
