// Package translate keeps the distribution's NAT64 translator running: tayga,
// on a link that is there already, with a configuration of ours in the run
// directory. It knows nothing of networks; plan says which prefix and pool.
//
// The translator outlives the agent, so that guests keep their traffic over a
// restart: who comes next finds it by the record that is kept beside its
// configuration, and takes it over if it is as wanted, else ends it. What the
// translator itself remembers, which guest has which address of the pool, is
// kept by it in the same directory, so that connections outlive it, too.
package translate
