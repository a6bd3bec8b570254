//go:build race

package ownership

const defaultSeeds = 250 // the race detector makes each ten times slower
