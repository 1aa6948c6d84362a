//! `#[derive(Row)]`.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Error, Fields, Ident, LitStr, Result, Token, Type, parenthesized};

use crate::names;

struct Column<'a> {
    ident: &'a Ident,
    name: String,
    field_type: &'a Type,
    is_key: bool,
}

struct Attributes {
    table: String,
    indexes: Vec<Vec<Ident>>,
}

pub(crate) fn derive(input: &DeriveInput) -> Result<TokenStream> {
    names::check_no_generics(&input.generics)?;
    let attributes = attributes(input)?;
    let columns = columns(input)?;
    let key: Vec<&Column<'_>> = columns.iter().filter(|column| column.is_key).collect();
    let indexes = attributes
        .indexes
        .iter()
        .map(|index| resolve(index, &columns))
        .collect::<Result<Vec<_>>>()?;

    let Some(first_key) = key.first() else {
        return Err(Error::new_spanned(
            &input.ident,
            "the row has no primary key: mark its fields with #[key]",
        ));
    };
    let key_type = if key.len() == 1 {
        let field_type = first_key.field_type;
        quote!(#field_type)
    } else {
        let types = key.iter().map(|column| column.field_type);
        quote!((#(#types),*))
    };

    let ident = &input.ident;
    let table = &attributes.table;
    let fields: Vec<&Ident> = columns.iter().map(|column| column.ident).collect();
    let types: Vec<&Type> = columns.iter().map(|column| column.field_type).collect();
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let key_names = key.iter().map(|column| &column.name);
    let index_names = indexes.iter().map(|index| {
        let names = index.iter().map(|column| &column.name);
        quote!(&[#(#names),*])
    });
    let checks = checks(&key, &indexes);
    let constants = constants(input, &columns);
    let selections = indexes.iter().map(|index| selection(input, index));

    Ok(quote! {
        impl ::gnomon_sdk::Row for #ident {
            type Key = #key_type;

            const SCHEMA: ::gnomon_sdk::__private::TableSchema =
                ::gnomon_sdk::__private::TableSchema {
                    name: #table,
                    columns: &[
                        #(::gnomon_sdk::__private::ColumnSchema::of::<#types>(#names)),*
                    ],
                    primary_key: &[#(#key_names),*],
                    indexes: &[#(#index_names),*],
                };

            fn into_values(self) -> ::std::vec::Vec<::gnomon_sdk::__private::Value> {
                ::std::vec![
                    #(<#types as ::gnomon_sdk::Cell>::into_value(self.#fields)),*
                ]
            }

            fn from_values(
                values: ::std::vec::Vec<::gnomon_sdk::__private::Value>,
            ) -> ::gnomon_sdk::Result<Self> {
                let mut values = values.into_iter();
                ::core::result::Result::Ok(Self {
                    #(#fields: ::gnomon_sdk::__private::next_cell::<#types>(&mut values, #names)?),*
                })
            }
        }

        #[allow(dead_code, non_upper_case_globals)]
        impl #ident {
            #(#constants)*
            #(#selections)*
        }

        const _: () = {
            #(#checks)*
        };
    })
}

fn attributes(input: &DeriveInput) -> Result<Attributes> {
    let mut table = None;
    let mut indexes = Vec::new();
    for attribute in &input.attrs {
        if !attribute.path().is_ident("row") {
            continue;
        }
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("table") {
                let name: LitStr = meta.value()?.parse()?;
                names::check("table", &name.value(), name.span())?;
                table = Some(name.value());
                return Ok(());
            }
            if meta.path.is_ident("index") {
                let columns;
                parenthesized!(columns in meta.input);
                let columns = Punctuated::<Ident, Token![,]>::parse_terminated(&columns)?;
                if columns.is_empty() {
                    return Err(meta.error("an index needs a column"));
                }
                indexes.push(columns.into_iter().collect());
                return Ok(());
            }
            Err(meta.error("expected `table = \"…\"` or `index(…)`"))
        })?;
    }
    let table = table.ok_or_else(|| {
        Error::new_spanned(
            &input.ident,
            "the row has no table: add #[row(table = \"…\")]",
        )
    })?;
    Ok(Attributes { table, indexes })
}

fn columns(input: &DeriveInput) -> Result<Vec<Column<'_>>> {
    let Data::Struct(data) = &input.data else {
        return Err(Error::new_spanned(&input.ident, "a row is a struct"));
    };
    let Fields::Named(fields) = &data.fields else {
        return Err(Error::new_spanned(
            &input.ident,
            "a row has named fields: their names are the columns'",
        ));
    };
    fields
        .named
        .iter()
        .filter_map(|field| field.ident.as_ref().map(|ident| (field, ident)))
        .map(|(field, ident)| {
            let name = ident.unraw().to_string();
            names::check("column", &name, ident.span())?;
            Ok(Column {
                ident,
                name,
                field_type: &field.ty,
                is_key: field
                    .attrs
                    .iter()
                    .any(|attribute| attribute.path().is_ident("key")),
            })
        })
        .collect()
}

fn resolve<'a>(index: &[Ident], columns: &'a [Column<'a>]) -> Result<Vec<&'a Column<'a>>> {
    index
        .iter()
        .map(|ident| {
            columns
                .iter()
                .find(|column| column.ident == ident)
                .ok_or_else(|| Error::new_spanned(ident, format!("the row has no field `{ident}`")))
        })
        .collect()
}

/// Lines that compile only if the types may stand in the key and the indexes.
fn checks(key: &[&Column<'_>], indexes: &[Vec<&Column<'_>>]) -> Vec<TokenStream> {
    let of_key = key.iter().map(|column| {
        let field_type = column.field_type;
        quote_spanned!(field_type.span() => ::gnomon_sdk::__private::require_key::<#field_type>();)
    });
    let of_indexes = indexes.iter().flatten().map(|column| {
        let field_type = column.field_type;
        quote_spanned!(field_type.span() => ::gnomon_sdk::__private::require_ordered::<#field_type>();)
    });
    of_key.chain(of_indexes).collect()
}

/// A constant for each column outside of the key.
fn constants(input: &DeriveInput, columns: &[Column<'_>]) -> Vec<TokenStream> {
    let visibility = &input.vis;
    columns
        .iter()
        .filter(|column| !column.is_key)
        .map(|column| {
            let (ident, name, field_type) = (column.ident, &column.name, column.field_type);
            let documentation = format!("The column `{name}`, for changes to it.");
            quote! {
                #[doc = #documentation]
                #visibility const #ident: ::gnomon_sdk::Column<Self, #field_type> =
                    ::gnomon_sdk::Column::new(#name);
            }
        })
        .collect()
}

/// The function that selects by an index.
fn selection(input: &DeriveInput, index: &[&Column<'_>]) -> TokenStream {
    let visibility = &input.vis;
    let names: Vec<&str> = index.iter().map(|column| column.name.as_str()).collect();
    let function = format_ident!("by_{}", names.join("_and_"), span = Span::call_site());
    let fields: Vec<&Ident> = index.iter().map(|column| column.ident).collect();
    let types: Vec<&Type> = index.iter().map(|column| column.field_type).collect();
    let documentation = format!("The rows with this `{}`.", names.join("`, `"));
    quote! {
        #[doc = #documentation]
        #visibility fn #function(
            #(#fields: impl ::gnomon_sdk::IntoCell<#types>),*
        ) -> ::gnomon_sdk::Selection<Self> {
            ::gnomon_sdk::Selection::new(
                &[#(#names),*],
                ::std::vec![#(::gnomon_sdk::IntoCell::<#types>::into_cell(#fields)),*],
            )
        }
    }
}
