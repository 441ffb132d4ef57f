//! `#[derive(OperatorState)]`: shows the fields of a struct of operator state, with their names.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Error, Field, Fields, LitStr, Result};

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
    let here = std::env::var("CARGO_PKG_NAME").unwrap_or_default();
    let state = if here.starts_with("millstream-") {
        quote!(::millstream_state::operator_state)
    } else {
        quote!(::millstream::operator_state)
    };
    let mut opened = Vec::new();
    let mut shown = Vec::new();
    for field in fields {
        let ident = field.ident.as_ref().expect("the field is named");
        let (name, aliases) = (ident.to_string(), aliases(field)?);
        let name = name.strip_prefix("r#").unwrap_or(&name);
        let ty = &field.ty;
        opened.push(quote!(#ident: <#ty as ::core::default::Default>::default()));
        let shows = quote_spanned!(ty.span()=> {
            let field: &mut dyn #state::OperatorField = &mut self.#ident;
            visit(#state::OperatorFieldSpec { name: #name, aliases: &[#(#aliases),*] }, field);
        });
        shown.push(shows);
    }
    let name = &input.ident;
    let brackets = match &data.fields {
        Fields::Unit => quote!(Self),
        _ => quote!(Self { #(#opened,)* }),
    };
    Ok(quote! {
        #[automatically_derived]
        impl #state::OperatorState for #name {
            fn open() -> Self {
                #brackets
            }

            fn fields(
                &mut self,
                visit: &mut dyn FnMut(#state::OperatorFieldSpec, &mut dyn #state::OperatorField),
            ) {
                let _ = &visit;
                #(#shown)*
            }
        }
    })
}

fn aliases(field: &Field) -> Result<Vec<String>> {
    let mut aliases = Vec::new();
    for attribute in field.attrs.iter().filter(|a| a.path().is_ident("state")) {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("alias") {
                return Err(meta.error("unknown attribute: `alias` is known"));
            }
            aliases.push(meta.value()?.parse::<LitStr>()?.value());
            Ok(())
        })?;
    }
    Ok(aliases)
}
