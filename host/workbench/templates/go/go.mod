module {{name}}

go 1.24

require gnomon v0.0.0

// `gnomon build` writes it.
replace gnomon => ./.gnomon/go
