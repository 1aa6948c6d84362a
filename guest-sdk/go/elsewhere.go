//go:build !wasip1

package gnomon

// Outside of a host there are no tables: editors and tests of an author's own
// functions need no more than that the package compiles.

const nowhere = "gnomon: tables are only there in a component; see `gnomon test`"

func hostTable(_, _ uint32) uint32                 { panic(nowhere) }
func hostGet(_, _, _, _ uint32)                    { panic(nowhere) }
func hostGetMany(_, _, _, _ uint32)                { panic(nowhere) }
func hostFind(_, _, _, _, _, _, _ uint32)          { panic(nowhere) }
func hostPut(_, _, _ uint32)                       { panic(nowhere) }
func hostPatch(_, _, _, _, _ uint32)               { panic(nowhere) }
func hostMerge(_, _, _, _, _ uint32)               { panic(nowhere) }
func hostRemove(_, _, _ uint32)                    { panic(nowhere) }
func hostPatchWhere(_, _, _, _, _, _, _ uint32)    { panic(nowhere) }
func hostRemoveWhere(_, _, _, _, _ uint32)         { panic(nowhere) }
