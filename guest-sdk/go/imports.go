//go:build wasip1

package gnomon

//go:wasmimport gnomon:projection/read-model@0.1.0 [constructor]table
func hostTable(name, length uint32) uint32

//go:wasmimport gnomon:projection/read-model@0.1.0 [resource-drop]table
func hostDrop(table uint32)

//go:wasmimport gnomon:projection/read-model@0.1.0 [method]table.get
func hostGet(table, key, keyLength, result uint32)

//go:wasmimport gnomon:projection/read-model@0.1.0 [method]table.get-many
func hostGetMany(table, keys, keysLength, result uint32)

//go:wasmimport gnomon:projection/read-model@0.1.0 [method]table.find
func hostFind(table, columns, columnsLength, values, valuesLength, limit, result uint32)

//go:wasmimport gnomon:projection/read-model@0.1.0 [method]table.put
func hostPut(table, row, rowLength uint32)

//go:wasmimport gnomon:projection/read-model@0.1.0 [method]table.patch
func hostPatch(table, key, keyLength, changes, changesLength uint32)

//go:wasmimport gnomon:projection/read-model@0.1.0 [method]table.merge
func hostMerge(table, key, keyLength, changes, changesLength uint32)

//go:wasmimport gnomon:projection/read-model@0.1.0 [method]table.remove
func hostRemove(table, key, keyLength uint32)

//go:wasmimport gnomon:projection/read-model@0.1.0 [method]table.patch-where
func hostPatchWhere(table, columns, columnsLength, values, valuesLength, changes, changesLength uint32)

//go:wasmimport gnomon:projection/read-model@0.1.0 [method]table.remove-where
func hostRemoveWhere(table, columns, columnsLength, values, valuesLength uint32)

// What `gnomon build` puts in the place of WASI passes printed lines on.

//go:wasmimport wasi_snapshot_preview1 gnomon_set_line_buffer
func setLineBuffer(buffer, length uint32)

//go:wasmimport wasi_snapshot_preview1 gnomon_flush_lines
func flushLines()
