//! `#[derive(Events)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt;
use syn::{Data, DeriveInput, Error, Fields, LitStr, Result, Variant};

use crate::names;

/// Which events a variant stands for.
enum Stands {
    For(String),
    ForAllOthers,
}

pub(crate) fn derive(input: &DeriveInput) -> Result<TokenStream> {
    names::check_no_generics(&input.generics)?;
    let Data::Enum(data) = &input.data else {
        return Err(Error::new_spanned(
            &input.ident,
            "events are an enum with a variant for each type of event",
        ));
    };
    let mut types: Vec<String> = Vec::new();
    let mut arms = Vec::new();
    let mut other = None;
    for variant in &data.variants {
        match stands(variant)? {
            Stands::For(name) => {
                if types.contains(&name) {
                    return Err(Error::new_spanned(
                        variant,
                        format!("two variants stand for events of type `{name}`"),
                    ));
                }
                let decoder = decoder(variant)?;
                arms.push(quote!(#name => #decoder));
                types.push(name);
            }
            Stands::ForAllOthers => {
                if other.is_some() || !matches!(variant.fields, Fields::Unit) {
                    return Err(Error::new_spanned(
                        variant,
                        "#[event(other)] goes to one variant, without fields",
                    ));
                }
                let ident = &variant.ident;
                other = Some(quote!(::core::result::Result::Ok(Self::#ident)));
            }
        }
    }
    if types.is_empty() && other.is_none() {
        return Err(Error::new_spanned(
            &input.ident,
            "no variant: a projection reads at least one type of event",
        ));
    }
    let subscribed: &[String] = if other.is_some() { &[] } else { &types };
    let other = other.unwrap_or_else(|| {
        quote!(::core::result::Result::Err(
            ::gnomon_sdk::__private::unexpected(event)
        ))
    });
    let ident = &input.ident;
    Ok(quote! {
        impl ::gnomon_sdk::Events for #ident {
            const TYPES: &'static [&'static str] = &[#(#subscribed),*];

            fn decode(event: &::gnomon_sdk::EventContext) -> ::gnomon_sdk::Result<Self> {
                match event.event_type.as_str() {
                    #(#arms,)*
                    _ => #other,
                }
            }
        }
    })
}

fn stands(variant: &Variant) -> Result<Stands> {
    let mut stands = Stands::For(variant.ident.unraw().to_string());
    for attribute in &variant.attrs {
        if !attribute.path().is_ident("event") {
            continue;
        }
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("name") {
                let name: LitStr = meta.value()?.parse()?;
                if name.value().is_empty() {
                    return Err(meta.error("the type of an event is not empty"));
                }
                stands = Stands::For(name.value());
                return Ok(());
            }
            if meta.path.is_ident("other") {
                stands = Stands::ForAllOthers;
                return Ok(());
            }
            Err(meta.error("expected `name = \"…\"` or `other`"))
        })?;
    }
    Ok(stands)
}

/// The expression that makes the variant from `event`.
fn decoder(variant: &Variant) -> Result<TokenStream> {
    let ident = &variant.ident;
    match &variant.fields {
        Fields::Unit => Ok(quote!(::core::result::Result::Ok(Self::#ident))),
        Fields::Unnamed(fields) if fields.unnamed.len() == 1 => {
            Ok(quote!(event.read_data().map(Self::#ident)))
        }
        Fields::Unnamed(_) => Err(Error::new_spanned(
            variant,
            "a variant has named fields, one unnamed field, or none",
        )),
        Fields::Named(fields) => {
            // What a message calls it.
            let shown = ident.unraw().to_string();
            let names: Vec<_> = fields.named.iter().map(|field| &field.ident).collect();
            let types = fields.named.iter().map(|field| &field.ty);
            let attributes = fields.named.iter().map(|field| {
                let serde = field
                    .attrs
                    .iter()
                    .filter(|attribute| attribute.path().is_ident("serde"));
                quote!(#(#serde)*)
            });
            Ok(quote! {{
                #[derive(::gnomon_sdk::__private::serde::Deserialize)]
                #[serde(crate = "::gnomon_sdk::__private::serde", rename = #shown)]
                struct Data {
                    #(#attributes #names: #types,)*
                }
                event
                    .read_data()
                    .map(|Data { #(#names),* }| Self::#ident { #(#names),* })
            }})
        }
    }
}
