"""A whole catalogue at once: for every song a new one, primed from a piece of itself.

    plan     which songs there are, what each is called, and which are there already
    songs    a batch of them through the model: MIDI, measures, whatever else is asked for
    beam     the batches, over Beam's workers
    store    the folder they go to: files that are whole, and a record beside each song
    manifest the records of the catalogue, as JSON lines and as Parquet
    verify   whether the files are what the manifest says
    run      all of it, in order

A song's identity is the hash of what it is made of: the source's bytes, the model, the
seed and the settings. A second run makes only what has no record yet, and a run that was
killed goes on where it stood; what it ends with is the same to the byte.

Importing `plan`, `store`, `manifest` or `verify` costs neither Beam nor TensorFlow: a run
that has nothing to do is over before either would have been imported.
"""

from client.catalogue.request import RegenerateRequest
from client.catalogue.run import Outcome, regenerate
from client.catalogue.verify import verify

__all__ = ["Outcome", "RegenerateRequest", "regenerate", "verify"]
