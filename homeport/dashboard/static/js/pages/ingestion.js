// Files of one store, on their way.
import { acting } from "../jobs/acting.js";
import { telling } from "../jobs/told.js";

acting();
telling("Vector store");
