// Package pack keeps what there may be a hundred thousand of in little memory.
package pack

import (
	"iter"
	"math/bits"
)

// Set finds things by what they hold themselves. A map keeps every key once
// more: for an address and a network's ID that is as much as all else there is
// to say of a lease. A Set keeps a pointer and a byte of each thing.
//
// The zero Set is not ready; see NewSet. Things must not change in what they
// are found by while they are in a set.
type Set[T any] struct {
	hash func(*T) uint64
	// marks has a byte of the hash of what is in each slot, 0 where it is free.
	marks []uint8
	slots []*T
	n     int
}

// NewSet returns an empty set of things with such hashes. They must be good in
// all bits, and secret where strangers choose what is hashed: see maphash.
func NewSet[T any](hash func(*T) uint64) *Set[T] { return &Set[T]{hash: hash} }

// Len returns how many things there are.
func (s *Set[T]) Len() int { return s.n }

// Find returns the thing with the hash that is the one, or nil.
func (s *Set[T]) Find(hash uint64, is func(*T) bool) *T {
	if s.n == 0 {
		return nil
	}
	m := mark(hash)
	for i := s.home(hash); s.marks[i] != 0; i = s.after(i) {
		if s.marks[i] == m && is(s.slots[i]) {
			return s.slots[i]
		}
	}
	return nil
}

// Add puts a thing in that is not in there.
func (s *Set[T]) Add(x *T) {
	if s.n+1 > len(s.slots)/5*4 {
		s.resize(max(10, (s.n+1)*15/8))
	}
	s.add(x)
}

// Remove takes a thing out; it reports whether it was in there.
func (s *Set[T]) Remove(x *T) bool {
	i := s.at(x)
	if i < 0 {
		return false
	}
	s.free(i)
	s.n--
	if len(s.slots) > 64 && s.n < len(s.slots)/4 {
		s.resize(len(s.slots) / 2)
	}
	return true
}

// Replace puts a thing where another one is that is found by the same; it
// reports whether that was in there.
func (s *Set[T]) Replace(old, now *T) bool {
	i := s.at(old)
	if i >= 0 {
		s.slots[i] = now
	}
	return i >= 0
}

// Clear empties the set.
func (s *Set[T]) Clear() { s.marks, s.slots, s.n = nil, nil, 0 }

// All returns all things, in no order. The set must not be changed meanwhile.
func (s *Set[T]) All() iter.Seq[*T] {
	return func(yield func(*T) bool) {
		for _, x := range s.slots {
			if x != nil && !yield(x) {
				return
			}
		}
	}
}

// at is the slot of a thing; -1 if it has none.
func (s *Set[T]) at(x *T) int {
	if s.n == 0 {
		return -1
	}
	for i := s.home(s.hash(x)); s.marks[i] != 0; i = s.after(i) {
		if s.slots[i] == x {
			return i
		}
	}
	return -1
}

func (s *Set[T]) add(x *T) {
	h := s.hash(x)
	i := s.home(h)
	for s.marks[i] != 0 {
		i = s.after(i)
	}
	s.marks[i], s.slots[i] = mark(h), x
	s.n++
}

// free empties a slot. What lies behind it, up to the next free one, moves up
// where that brings it nearer to its home, so that it is still found.
func (s *Set[T]) free(i int) {
	for j := s.after(i); s.marks[j] != 0; j = s.after(j) {
		home := s.home(s.hash(s.slots[j]))
		if s.distance(home, j) >= s.distance(i, j) {
			s.marks[i], s.slots[i] = s.marks[j], s.slots[j]
			i = j
		}
	}
	s.marks[i], s.slots[i] = 0, nil
}

// resize moves all into so many slots.
func (s *Set[T]) resize(n int) {
	old := s.slots
	s.marks, s.slots, s.n = make([]uint8, n), make([]*T, n), 0
	for _, x := range old {
		if x != nil {
			s.add(x)
		}
	}
}

// home is the slot where a thing is if that was free.
func (s *Set[T]) home(hash uint64) int {
	hi, _ := bits.Mul64(hash, uint64(len(s.slots)))
	return int(hi)
}

func (s *Set[T]) after(i int) int {
	if i++; i == len(s.slots) {
		return 0
	}
	return i
}

// distance is how many slots it is from a to b.
func (s *Set[T]) distance(a, b int) int {
	if b < a {
		b += len(s.slots)
	}
	return b - a
}

// mark is the byte of a hash that a slot keeps: not of those bits that say
// where its home is.
func mark(hash uint64) uint8 { return uint8(hash) | 1 }
