//go:build race

package ownership

const defaultSeeds = 400 // the race detector makes each ten times slower
