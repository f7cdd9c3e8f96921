// Command foreign verifies a log published as C2SP tlog-tiles with the Go
// project's own implementation, golang.org/x/mod/sumdb/{note,tlog}. It shares
// no code with the ledger: what it accepts, any standard tool accepts.
//
//	foreign DIR VKEY [SIZE:BASE64ROOT ...]
//
// It checks the signature of DIR/checkpoint by VKEY, the root over all entries
// in the entry bundles, every hash the tiles hold or lead to, the inclusion of
// every entry as proved from the tiles, and that each older SIZE with its root
// is a prefix of the tree. Exit status 0 means that all of it holds.
package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8 // of a tile, fixed by C2SP tlog-tiles

func main() {
	if len(os.Args) < 3 {
		fail("usage: foreign DIR VKEY [SIZE:BASE64ROOT ...]")
	}
	tree := openCheckpoint(os.Args[1], os.Args[2])
	entries := readEntries(os.Args[1], tree.N)
	hashes := readTiles(os.Args[1], tree, hashEntries(tree, entries))
	checkInclusion(tree, entries, hashes)
	for _, old := range os.Args[3:] {
		checkConsistency(tree, old, hashes)
	}
	fmt.Printf("verified size=%d root=%s consistency=%d\n", tree.N, tree.Hash, len(os.Args)-3)
}

// openCheckpoint returns the tree head that vkey signed.
func openCheckpoint(dir, vkey string) tlog.Tree {
	verifier, err := note.NewVerifier(vkey)
	check("verifier key", err)
	message, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	check("checkpoint", err)
	opened, err := note.Open(message, note.VerifierList(verifier))
	check("checkpoint signature", err)
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() {
		fail("checkpoint: not three lines, or another origin than the key's name")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	check("checkpoint size", err)
	root, err := tlog.ParseHash(lines[2])
	check("checkpoint root", err)
	return tlog.Tree{N: size, Hash: root}
}

// tilePath returns where C2SP tlog-tiles keeps a tile; tlog's own paths have
// the height in them, and call entries data.
func tilePath(dir string, tile tlog.Tile) string {
	rest := strings.TrimPrefix(tile.Path(), fmt.Sprintf("tile/%d/", height))
	if tile.L == -1 {
		rest = "entries/" + strings.TrimPrefix(rest, "data/")
	}
	return filepath.Join(dir, "tile", filepath.FromSlash(rest))
}

// readEntries returns the entries of all bundles of a tree of the given size.
func readEntries(dir string, size int64) [][]byte {
	var entries [][]byte
	for n := int64(0); n<<height < size; n++ {
		width := 1 << height
		if left := size - n<<height; left < int64(width) {
			width = int(left)
		}
		path := tilePath(dir, tlog.Tile{H: height, L: -1, N: n, W: width})
		data, err := os.ReadFile(path)
		check("entry bundle", err)
		for i := 0; i < width; i++ {
			if len(data) < 2 || len(data) < 2+int(binary.BigEndian.Uint16(data)) {
				fail("entry bundle %s ends within entry %d", path, i)
			}
			end := 2 + int(binary.BigEndian.Uint16(data))
			entries = append(entries, data[2:end])
			data = data[end:]
		}
		if len(data) != 0 {
			fail("entry bundle %s has bytes after its entries", path)
		}
	}
	return entries
}

// hashEntries builds the tree from the entries alone, compares its root, and
// returns all its hashes in storage order.
func hashEntries(tree tlog.Tree, entries [][]byte) []tlog.Hash {
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		return pick(stored, indexes), nil
	})
	for n, entry := range entries {
		hashes, err := tlog.StoredHashes(int64(n), entry, reader)
		check("hashing entries", err)
		stored = append(stored, hashes...)
	}
	root, err := tlog.TreeHash(tree.N, reader)
	check("root over entries", err)
	if root != tree.Hash {
		fail("root over entries: calculated %s, the checkpoint claims %s", root, tree.Hash)
	}
	return stored
}

func pick(hashes []tlog.Hash, indexes []int64) []tlog.Hash {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		out[i] = hashes[x]
	}
	return out
}

// tileFiles reads tiles from a directory.
type tileFiles struct{ dir string }

func (t tileFiles) Height() int                     { return height }
func (t tileFiles) SaveTiles([]tlog.Tile, [][]byte) {}
func (t tileFiles) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	out := make([][]byte, len(tiles))
	for i, tile := range tiles {
		data, err := os.ReadFile(tilePath(t.dir, tile))
		if err != nil {
			return nil, err
		}
		out[i] = data
	}
	return out, nil
}

// readTiles reads every hash of the tree from the tiles through
// tlog.TileHashReader, and returns a reader over them.
//
// TileHashReader promises that what it returns is proven to be in the tree. In
// versions before the fix of CVE-2026-56865 (go.dev/issue/80744), the packaged
// one among them, it leaves out some tiles, so each hash is also compared with
// the one hashed from the entries.
func readTiles(dir string, tree tlog.Tree, expected []tlog.Hash) tlog.HashReader {
	indexes := make([]int64, len(expected))
	for i := range indexes {
		indexes[i] = int64(i)
	}
	hashes, err := tlog.TileHashReader(tree, tileFiles{dir}).ReadHashes(indexes)
	check("hash tiles", err)
	for i, hash := range hashes {
		if level, n := tlog.SplitStoredHashIndex(int64(i)); hash != expected[i] {
			fail("hash tiles: node %d of level %d is %s, the entries have %s", n, level, hash, expected[i])
		}
	}
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		return pick(hashes, indexes), nil
	})
}

func checkInclusion(tree tlog.Tree, entries [][]byte, hashes tlog.HashReader) {
	for n, entry := range entries {
		proof, err := tlog.ProveRecord(tree.N, int64(n), hashes)
		check("inclusion proof", err)
		err = tlog.CheckRecord(proof, tree.N, tree.Hash, int64(n), tlog.RecordHash(entry))
		check(fmt.Sprintf("inclusion of entry %d", n), err)
	}
}

func checkConsistency(tree tlog.Tree, old string, hashes tlog.HashReader) {
	digits, encoded, _ := strings.Cut(old, ":")
	size, err := strconv.ParseInt(digits, 10, 64)
	check("older size", err)
	root, err := tlog.ParseHash(encoded)
	check("older root", err)
	proof, err := tlog.ProveTree(tree.N, size, hashes)
	check("consistency proof", err)
	err = tlog.CheckTree(proof, tree.N, tree.Hash, size, root)
	check("consistency with size "+digits, err)
}

func check(what string, err error) {
	if err != nil {
		fail("%s: %v", what, err)
	}
}

func fail(format string, args ...interface{}) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
	os.Exit(1)
}
