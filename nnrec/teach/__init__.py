"""Teaching: traces and explanations, exercises with keys, a catalogue of mistakes, diagnoses."""

from nnrec.teach import breaches, mistakes
from nnrec.teach.diagnosis import Diagnosis, diagnose
from nnrec.teach.exercises import Exercise, exercise
from nnrec.teach.explanations import Explanation, explain
from nnrec.teach.planting import MISTAKES, Mistake
from nnrec.teach.recording import trace
from nnrec.teach.specimens import SPECIMENS, Case, Specimen
from nnrec.teach.symbols import register
from nnrec.teach.traces import Step, Trace, verify

__all__ = ["MISTAKES", "SPECIMENS", "Case", "Diagnosis", "Exercise", "Explanation", "Mistake"]
__all__ += ["Specimen", "Step", "Trace", "diagnose", "exercise", "explain", "register", "trace"]
__all__ += ["verify"]
